import type { Pool } from 'pg';
import type { Queryable } from './queryable.ts';
import { repeatIfAsked } from './repeat.ts';

/**
 * Runs `work` in one READ COMMITTED transaction: the only place that says BEGIN. Commits when `work`
 * resolves, rolls back when it throws. A connection whose rollback fails is closed, never reused.
 * @param work is run again after a deadlock, so what it does outside of the database must bear that
 */
export function withTransaction<T>(pool: Pool, work: (db: Queryable) => Promise<T>): Promise<T> {
  return repeatIfAsked(() => runOnce(pool, work));
}

async function runOnce<T>(pool: Pool, work: (db: Queryable) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query('BEGIN');
    const result = await work(client);
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch((rollbackError: Error) => {
      broken = rollbackError;
    });
    throw error;
  } finally {
    client.release(broken);
  }
}
