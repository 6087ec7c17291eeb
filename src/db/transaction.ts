import type { Pool } from 'pg';
import type { Queryable } from './queryable.ts';

/**
 * Runs `work` in one READ COMMITTED transaction: the only place that says BEGIN. Commits when `work`
 * resolves, rolls back when it throws. A connection whose rollback fails is closed, never reused.
 */
export async function withTransaction<T>(pool: Pool, work: (db: Queryable) => Promise<T>): Promise<T> {
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
