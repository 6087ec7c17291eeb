import type { Pool } from 'pg';
import { sleep } from '../lib/deadline.ts';
import { isRetryable } from './pg-errors.ts';

const MAX_ATTEMPTS = 5;
const FIRST_PAUSE_MS = 10;

/**
 * Does again what PostgreSQL asks for again. Of a transaction that ended in a deadlock or a serialization failure nothing
 * is left, so nothing happens twice. Everything else is thrown on at once.
 * @param work one whole transaction, made anew each time
 */
export async function repeatIfAsked<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt >= MAX_ATTEMPTS || !isRetryable(error)) throw error;
      // Unequal pauses, so that two of them do not meet again.
      await sleep(FIRST_PAUSE_MS * 2 ** attempt * (0.5 + Math.random() / 2));
    }
  }
}

/**
 * A statement outside of a transaction is one of its own, so any of them can be repeated.
 * @returns the same pool; its clients, which run transactions, stay as they are
 */
export function repeatStatements(pool: Pool): Pool {
  const query = pool.query.bind(pool) as unknown as (...statement: unknown[]) => Promise<unknown>;
  const repeating = (...statement: unknown[]) => repeatIfAsked(() => query(...statement));
  return Object.assign(pool, { query: repeating as unknown as Pool['query'] });
}
