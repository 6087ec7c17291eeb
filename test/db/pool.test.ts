import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPool } from '../../src/db/pool.ts';
import { withTransaction } from '../../src/db/transaction.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let pool: ReturnType<typeof createPool>;
const uncaught: unknown[] = [];
const note = (error: unknown) => uncaught.push(error);

beforeAll(async () => {
  database = await createTestDatabase();
  pool = createPool({ databaseUrl: database.databaseUrl, maxConnections: 2, onError: () => undefined });
  process.prependListener('uncaughtException', note);
});

afterAll(async () => {
  process.off('uncaughtException', note);
  await pool.end();
  await database.drop();
});

async function end(pid: unknown): Promise<void> {
  await pool.query('SELECT pg_terminate_backend($1)', [pid]);
}

describe('a connection that the server ends inside a transaction', () => {
  it.each(['during a statement', 'between two statements'])(
    'fails the transaction and nothing else: %s',
    async when => {
      const work = withTransaction(pool, async db => {
        const { rows } = await db.query<{ pid: number }>({
          name: 'pid',
          text: 'SELECT pg_backend_pid() AS pid',
          values: [],
        });
        if (when === 'between two statements') await end(rows[0]?.pid);
        else setTimeout(() => void end(rows[0]?.pid), 100);
        await db.query({ name: 'wait', text: 'SELECT pg_sleep(5)', values: [] });
      });
      await expect(work).rejects.toThrow(/terminat|not queryable/);
      // What nobody listens to comes with the end of the connection.
      await expect.poll(() => pool.totalCount).toBeLessThan(2);
      expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
      expect(uncaught).toEqual([]);
    },
  );
});
