import { isConnectionLoss, isGivenUp, isRefusedByLedger, isRetryable } from '../db/pg-errors.ts';
import type { CellName, Queryable } from '../db/queryable.ts';
import { DeadlineError, sleep, withDeadline } from '../lib/deadline.ts';
import { unavailable } from '../lib/errors.ts';
import {
  applyOperations,
  isSameOperation,
  refuseMalformed,
  type SpendingOperation,
  type SpendingResult,
} from './spending.ts';

export interface BatcherOptions {
  /** A pool: every lane uses one connection at a time. */
  db: Queryable;
  cell: CellName;
  /** More lanes than two wait for each other's locks instead of sharing commits. */
  lanes?: number;
  maxBatch?: number;
  /** Operations that may wait in one lane; beyond that callers are turned away before memory grows. */
  maxWaiting?: number;
  /** How often a batch whose outcome is unknown is sent again. */
  maxAttempts?: number;
  /** Bounds one call, including a network that swallows it; give the connections a shorter bound of theirs. */
  callTimeoutMs?: number;
  /** Bounds the search for the guilty in a batch that was refused as a whole; who is left is turned away. */
  splitTimeoutMs?: number;
  /** The injected time of every call; the database's own clock when absent. */
  now?: () => Date;
  /** Told about every failed call; the operations themselves learn of the last one only. */
  onFailure?: (error: unknown) => void;
}

export interface Batcher {
  /**
   * Applies one operation, together with whatever else arrives while the database is busy. Refusals are
   * results. When the promise rejects (`unavailable`) the outcome is unknown: ask again with the same id.
   */
  submit(operation: SpendingOperation): Promise<SpendingResult>;
  /** Turns new operations away and waits for those that were accepted. */
  drain(): Promise<void>;
}

interface Item {
  operation: SpendingOperation;
  promise: Promise<SpendingResult>;
  resolve: (result: SpendingResult) => void;
  reject: (error: unknown) => void;
}

interface Lane {
  waiting: Item[];
  /**
   * The newest waiting item of every id, for callers who ask for the same thing. What is on its way to the
   * database is not shared any more: its answer may be older than the question of who comes now.
   */
  byId: Map<string, Item>;
  running: Promise<void> | undefined;
}

const RETRY_BASE_MS = 25;
const RETRY_MAX_MS = 1_000;

/**
 * Joins operations that arrive together into one database call, so that one commit serves many. An idle
 * lane sends at once; a busy lane sends everything that has queued up when its call returns. There is no
 * timer: the batch grows with the load by itself. An account always takes the same lane.
 */
export function createBatcher(options: BatcherOptions): Batcher {
  const { lanes: laneCount = 2, maxBatch = 500, maxWaiting = 10_000 } = options;
  const lanes = Array.from(
    { length: laneCount },
    (): Lane => ({
      waiting: [],
      byId: new Map(),
      running: undefined,
    }),
  );
  const send = createSender(options);
  let closed = false;

  async function run(lane: Lane): Promise<void> {
    // Whatever is submitted in the same breath joins the first batch.
    await microtasksDone();
    while (lane.waiting.length > 0) {
      const batch = takeBatch(lane, maxBatch);
      await send(batch);
      // Callers that were just answered often have the next operation ready.
      await microtasksDone();
    }
    lane.running = undefined;
  }

  function submit(operation: SpendingOperation): Promise<SpendingResult> {
    const malformed = refuseMalformed(operation);
    if (malformed) return Promise.resolve(malformed);
    const lane = lanes[Number(BigInt.asUintN(64, operation.accountId) % BigInt(laneCount))];
    if (!lane || closed || lane.waiting.length >= maxWaiting)
      return Promise.reject(unavailable('the ledger'));
    const twin = lane.byId.get(operation.id);
    if (twin && isSameOperation(twin.operation, operation)) return twin.promise;
    const item = createItem(operation);
    lane.waiting.push(item);
    lane.byId.set(operation.id, item);
    lane.running ??= run(lane);
    return item.promise;
  }

  async function drain(): Promise<void> {
    closed = true;
    for (const lane of lanes) await lane.running;
  }

  return { submit, drain };
}

function createItem(operation: SpendingOperation): Item {
  let resolve: Item['resolve'] = () => {};
  let reject: Item['reject'] = () => {};
  const promise = new Promise<SpendingResult>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { operation, promise, resolve, reject };
}

/**
 * Resolves when everything that can run without waiting for the outside has run: Node empties the queue of
 * promises before that of ticks. It takes no turn of the event loop, and so no time of its own.
 */
function microtasksDone(): Promise<void> {
  return new Promise(resolve => {
    process.nextTick(resolve);
  });
}

/** Takes the oldest items; a second operation on an id waits for the next batch, to see the first one's rows. */
function takeBatch(lane: Lane, maxBatch: number): Item[] {
  const ids = new Set<string>();
  const batch: Item[] = [];
  const later: Item[] = [];
  for (const item of lane.waiting) {
    if (batch.length === maxBatch || ids.has(item.operation.id)) later.push(item);
    else {
      ids.add(item.operation.id);
      batch.push(item);
      if (lane.byId.get(item.operation.id) === item) lane.byId.delete(item.operation.id);
    }
  }
  lane.waiting = later;
  return batch;
}

/** Sends a batch and settles every item of it; never throws. */
function createSender(options: BatcherOptions): (batch: Item[]) => Promise<void> {
  const {
    db,
    cell,
    maxAttempts = 8,
    callTimeoutMs = 10_000,
    splitTimeoutMs = 5_000,
    now,
    onFailure,
  } = options;

  async function attempt(batch: Item[]): Promise<void> {
    const operations = batch.map(item => item.operation);
    const call = applyOperations(db, cell, operations, { now: now?.() });
    const results = await withDeadline('a ledger call', callTimeoutMs, call);
    batch.forEach((item, index) => {
      const result = results[index];
      if (result) item.resolve(result);
      else item.reject(unavailable('the ledger'));
    });
  }

  /** @returns the refusal of a call that as a whole was refused and wrote nothing; undefined when all is settled. */
  async function sendWithRetries(batch: Item[]): Promise<unknown> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await attempt(batch);
      } catch (error) {
        report(error);
        if (!isWorthRepeating(error)) return error;
        if (tries >= maxAttempts) return rejectAll(batch, unavailable('the ledger', error));
        await sleep(Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** tries) * (0.5 + Math.random() / 2));
      }
    }
  }

  /** Account by account and then one by one, so that only the guilty fail: a locked account, a wrong item. */
  async function sendApart(batch: Item[], error: unknown, deadlineMs: number): Promise<void> {
    const accounts = byAccount(batch);
    // Waiting too long is the fault of an account, and all its operations wait for the same lock.
    const parts = accounts.length > 1 ? accounts : isGivenUp(error) ? [] : batch.map(item => [item]);
    if (parts.length <= 1 || isRefusedByLedger(error)) return rejectAll(batch, asRefusal(error));
    for (const part of parts) {
      if (performance.now() > deadlineMs) rejectAll(part, unavailable('the ledger', error));
      else await sendOrSplit(part, deadlineMs);
    }
  }

  async function sendOrSplit(batch: Item[], deadlineMs: number): Promise<void> {
    const refused = await sendWithRetries(batch);
    if (refused !== undefined) await sendApart(batch, refused, deadlineMs);
  }

  function report(error: unknown): void {
    try {
      onFailure?.(error);
    } catch {
      // A mistake of whoever listens must not stop the lane.
    }
  }

  return async batch => {
    const refused = await sendWithRetries(batch);
    if (refused !== undefined) await sendApart(batch, refused, performance.now() + splitTimeoutMs);
  };
}

function byAccount(batch: readonly Item[]): Item[][] {
  const groups = new Map<bigint, Item[]>();
  for (const item of batch) {
    const group = groups.get(item.operation.accountId);
    if (group) group.push(item);
    else groups.set(item.operation.accountId, [item]);
  }
  return [...groups.values()];
}

/**
 * Deadlocks, serialization failures and lost connections: the same ids are safe to send again. Where the
 * database has answered that it gave up or is closed, the same call would only wait again.
 */
function isWorthRepeating(error: unknown): boolean {
  if (isGivenUp(error) || isRefusedByLedger(error)) return false;
  return isRetryable(error) || isConnectionLoss(error) || error instanceof DeadlineError;
}

/** What the caller of one operation learns: a locked or closed ledger passes by, anything else is our fault. */
function asRefusal(error: unknown): unknown {
  return isGivenUp(error) || isRefusedByLedger(error) ? unavailable('the ledger', error) : error;
}

function rejectAll(batch: Item[], error: unknown): void {
  for (const item of batch) item.reject(error);
}
