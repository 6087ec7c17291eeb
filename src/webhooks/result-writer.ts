import type { CellName, Queryable } from '../db/queryable.ts';
import { sleep } from '../lib/deadline.ts';
import type { Log } from '../ports/log.ts';
import type { At } from './at.ts';
import { type AttemptResult, finishAttempts } from './deliveries.ts';

const MAX_BATCH = 500;
const RETRY_MS = 500;
/** After these the lease of the delivery ends, and it is attempted again: a receiver may see it twice. */
const MAX_TRIES = 20;

/**
 * Stores results as they come: one at once, and what arrives meanwhile together in the next statement.
 * `write` resolves when the result is stored, or given up.
 */
export function createResultWriter(deps: { db: Queryable; cell: CellName; log: Log; at: () => At }): {
  write(result: AttemptResult): Promise<void>;
} {
  let waiting: { result: AttemptResult; done: () => void }[] = [];
  let running = false;

  async function store(results: readonly AttemptResult[]): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        await finishAttempts(deps.db, deps.cell, results, deps.at());
        return;
      } catch (error) {
        deps.log.error({ err: error, results: results.length }, 'results of webhooks could not be stored');
        if (tries === MAX_TRIES) return;
        await sleep(RETRY_MS);
      }
    }
  }

  async function run(): Promise<void> {
    running = true;
    while (waiting.length > 0) {
      const batch = waiting.slice(0, MAX_BATCH);
      waiting = waiting.slice(MAX_BATCH);
      await store(batch.map(({ result }) => result));
      for (const { done } of batch) done();
    }
    running = false;
  }

  return {
    write(result) {
      return new Promise(resolve => {
        waiting.push({ result, done: resolve });
        if (!running) void run();
      });
    },
  };
}
