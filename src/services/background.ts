import type { CellName, Queryable } from '../db/queryable.ts';
import { ensurePartitions } from '../ledger/partitions.ts';
import { sealNew } from '../ledger/seals.ts';
import { sweep } from '../ledger/sweeps.ts';
import { type Loop, startLoop } from '../lib/loop.ts';
import type { Log } from '../ports/log.ts';

const FORGET_EVERY_MS = 60_000;
const SWEEP_EVERY_MS = 5_000;
const SEAL_EVERY_MS = 10_000;
const PARTITIONS_EVERY_MS = 3_600_000;

/** Work that is repeated for as long as the process lives. Every replica may do it at the same time. */
export interface Task {
  /** The pause after each round, or what says how long it is each time. */
  everyMs: number | (() => number);
  /** What the log says when a round fails; the next round is tried all the same. */
  problem: string;
  /** Answers `MORE_TO_DO` when it could not take on all there is. */
  round: () => Promise<unknown>;
}

/** What keeps the books of one cell in order. */
export function ledgerTasks(db: Queryable, cell: CellName): Task[] {
  return [
    {
      everyMs: SWEEP_EVERY_MS,
      problem: 'expired holds and grants could not be ended',
      round: () => sweep(db, cell),
    },
    { everyMs: SEAL_EVERY_MS, problem: 'the log could not be sealed', round: () => sealNew(db, cell) },
    {
      everyMs: PARTITIONS_EVERY_MS,
      problem: 'partitions could not be made',
      round: () => ensurePartitions(db, cell),
    },
  ];
}

/** Deletes what is remembered for a limited time only. */
export function forgetTask(problem: string, round: () => Promise<unknown>): Task {
  return { everyMs: FORGET_EVERY_MS, problem, round };
}

/** Starts each task in a loop of its own, so that a slow one holds up nobody else. */
export function startTasks(tasks: readonly Task[], log: Log): Loop[] {
  return tasks.map(({ everyMs, problem, round }) =>
    startLoop({ intervalMs: everyMs, round, onError: error => log.error({ err: error }, problem) }),
  );
}
