import { shareCalls } from '../lib/shared-calls.ts';
import { changedNothing } from './pg-errors.ts';

/** Each may be a savepoint inside; a session keeps track of 64 cheaply. */
const MAX_ITEMS = 64;

/** A statement that takes longer waits for somebody else's lock, or has so much to do that a second one shares it. */
const PATIENCE_MS = 5;

/** Together with one that is not slow yet: what one kind of statement takes of a pool. */
const MAX_SLOW = 3;

/**
 * Does the work of many items in one statement: of all of them or, with an error, of none.
 * @returns a result for each item, in their order
 */
export type RunShared<Item, Result> = (items: readonly Item[]) => Promise<readonly Result[]>;

/**
 * Shares statements: under load a statement and its commit, most of what a small one costs, serve all who came while the one
 * before was under way. One item must not spoil it for others: when the database refuses a shared statement, each item has
 * one of its own. When it is not known what became of the statement, that is what all of them are told.
 */
export function shareStatements<Item, Result>(run: RunShared<Item, Result>): (item: Item) => Promise<Result> {
  return shareCalls({
    title: 'the database',
    run,
    maxItems: MAX_ITEMS,
    patienceMs: PATIENCE_MS,
    maxSlow: MAX_SLOW,
    isRepeatable: changedNothing,
  });
}
