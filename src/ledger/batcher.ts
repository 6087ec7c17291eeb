import { isConnectionLoss, isRetryable } from '../db/pg-errors.ts';
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
  /** Bounds one call, including a network that swallows it. */
  callTimeoutMs?: number;
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
  const { db, cell, maxAttempts = 8, callTimeoutMs = 20_000, onFailure } = options;

  async function attempt(batch: Item[]): Promise<SpendingResult[]> {
    const operations = batch.map(item => item.operation);
    return withDeadline('a ledger call', callTimeoutMs, applyOperations(db, cell, operations));
  }

  async function sendWithRetries(batch: Item[]): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        const results = await attempt(batch);
        batch.forEach((item, index) => {
          const result = results[index];
          if (result) item.resolve(result);
          else item.reject(unavailable('the ledger'));
        });
        return;
      } catch (error) {
        onFailure?.(error);
        if (!isOutcomeUnknown(error)) return sendApart(batch, error);
        if (tries >= maxAttempts) return rejectAll(batch, unavailable('the ledger', error));
        await sleep(Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** tries) * (0.5 + Math.random() / 2));
      }
    }
  }

  /** The call as a whole was refused, so nothing was written: one by one, only the guilty item fails. */
  async function sendApart(batch: Item[], error: unknown): Promise<void> {
    if (batch.length === 1) return rejectAll(batch, error);
    for (const item of batch) await sendWithRetries([item]);
  }

  return sendWithRetries;
}

/** Deadlocks, serialization failures and lost connections: the same ids are safe to send again. */
function isOutcomeUnknown(error: unknown): boolean {
  return isRetryable(error) || isConnectionLoss(error) || error instanceof DeadlineError;
}

function rejectAll(batch: Item[], error: unknown): void {
  for (const item of batch) item.reject(error);
}
