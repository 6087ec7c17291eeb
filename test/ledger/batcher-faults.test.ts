import type { Pool, PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPool } from '../../src/db/pool.ts';
import type { CellName, Queryable } from '../../src/db/queryable.ts';
import { createBatcher } from '../../src/ledger/batcher.ts';
import { newId } from '../../src/lib/ids.ts';
import {
  CELLS,
  countTransfers,
  createLedgerDatabase,
  expectSoundBooks,
  type LedgerDatabase,
  openFunded,
} from './support.ts';

const UNAVAILABLE = { code: 'unavailable' };

let database: LedgerDatabase;
let impatient: Pool;

beforeAll(async () => {
  database = await createLedgerDatabase();
  const { databaseUrl } = database;
  impatient = createPool({ databaseUrl, maxConnections: 1, lockTimeoutMs: 200, onError: () => {} });
});

afterAll(async () => {
  await impatient.end();
  await database.close();
});

const debit = (accountId: bigint) => ({ kind: 'debit', accountId, id: newId(), amountNanoUsd: 1n }) as const;

/** Runs `work` while somebody else holds the account's row, and then lets go. */
async function whileLocked(
  cell: CellName,
  accountId: bigint,
  work: (holder: PoolClient) => Promise<void>,
): Promise<void> {
  const holder = await database.pool.connect();
  try {
    await holder.query('BEGIN');
    await holder.query(`SELECT FROM "${cell}".account WHERE account_id = ${accountId} FOR NO KEY UPDATE`);
    await work(holder);
  } finally {
    await holder.query('COMMIT');
    holder.release();
  }
}

describe.each(CELLS)('%s', cell => {
  it('leaves an account out that somebody has locked, and serves its neighbours', async () => {
    const { pool } = database;
    const [before, locked, after] = [
      await openFunded(pool, cell),
      await openFunded(pool, cell),
      await openFunded(pool, cell),
    ];
    const batcher = createBatcher({ db: impatient, cell, lanes: 1 });
    const waiting = debit(locked);
    await whileLocked(cell, locked, async () => {
      const results = await Promise.allSettled(
        [debit(before), waiting, debit(locked), debit(after), debit(before)].map(o => batcher.submit(o)),
      );
      expect(results.map(r => r.status)).toEqual([
        'fulfilled',
        'rejected',
        'rejected',
        'fulfilled',
        'fulfilled',
      ]);
      expect(results[1]).toMatchObject({ reason: UNAVAILABLE });
    });
    expect((await batcher.submit(waiting)).status).toBe('applied');
    expect(await countTransfers(pool, cell, before)).toBe(3);
    expect(await countTransfers(pool, cell, locked)).toBe(2);
  });

  it('gives the search for the guilty a bound, and turns away who is left', async () => {
    const { pool } = database;
    const [locked, left] = [await openFunded(pool, cell), await openFunded(pool, cell)];
    const batcher = createBatcher({ db: impatient, cell, lanes: 1, splitTimeoutMs: 100 });
    await whileLocked(cell, locked, async () => {
      const results = await Promise.allSettled([debit(locked), debit(left)].map(o => batcher.submit(o)));
      expect(results).toMatchObject([{ reason: UNAVAILABLE }, { reason: UNAVAILABLE }]);
    });
    expect(await countTransfers(pool, cell, left)).toBe(1);
  });

  it.each(['40P01', '40001'])('sends a batch again, with the same ids, after %s', async code => {
    const accountId = await openFunded(database.pool, cell);
    const sent: unknown[] = [];
    const db: Queryable = {
      query: statement => {
        sent.push(statement.values[2]);
        if (sent.length === 1) return Promise.reject(Object.assign(new Error('refused'), { code }));
        return database.pool.query(statement);
      },
    };
    const batcher = createBatcher({ db, cell });
    const results = await Promise.all([1, 2].map(() => batcher.submit(debit(accountId))));
    expect(results.map(r => r.status)).toEqual(['applied', 'applied']);
    expect(sent).toEqual([sent[0], sent[0]]);
    expect(await countTransfers(database.pool, cell, accountId)).toBe(3);
  });

  it('survives a real deadlock with somebody who locks in another order', async () => {
    const { pool } = database;
    const [low, high] = [await openFunded(pool, cell), await openFunded(pool, cell)];
    const failures: unknown[] = [];
    const batcher = createBatcher({ db: pool, cell, lanes: 1, onFailure: error => failures.push(error) });
    await whileLocked(cell, high, async holder => {
      const both = Promise.all([batcher.submit(debit(low)), batcher.submit(debit(high))]);
      const blocked = async () => {
        const { rows } = await pool.query<{ n: number }>(
          `SELECT count(*)::int AS n FROM pg_stat_activity
           WHERE datname = current_database() AND wait_event_type = 'Lock'`,
        );
        return rows[0]?.n;
      };
      await expect.poll(blocked).toBe(1);
      // PostgreSQL ends one of the two, whichever looks first; both ways the batch is booked in the end.
      await holder
        .query(`SELECT FROM "${cell}".account WHERE account_id = ${low} FOR NO KEY UPDATE`)
        .catch((error: { code: string }) => expect(error.code).toBe('40P01'));
      await holder.query('ROLLBACK');
      await holder.query('BEGIN');
      expect((await both).map(r => r.status)).toEqual(['applied', 'applied']);
    });
    expect(await countTransfers(pool, cell, low)).toBe(2);
  });

  it('asks again over another connection when no answer comes, and books once', async () => {
    const { pool, databaseUrl } = database;
    const accountId = await openFunded(pool, cell);
    const deaf = createPool({ databaseUrl, maxConnections: 1, answerTimeoutMs: 200, onError: () => {} });
    try {
      await whileLocked(cell, accountId, async holder => {
        const failures: string[] = [];
        const onFailure = (error: unknown) => {
          failures.push((error as Error).message);
          if (failures.length === 1) void holder.query('COMMIT');
        };
        const batcher = createBatcher({ db: deaf, cell, onFailure });
        expect(['applied', 'replayed']).toContain((await batcher.submit(debit(accountId))).status);
        expect(failures[0]).toBe('Query read timeout');
        await holder.query('BEGIN');
      });
      expect(await countTransfers(pool, cell, accountId)).toBe(2);
    } finally {
      await deaf.end();
    }
  });

  it('settles everything although its listener throws', async () => {
    const accountId = await openFunded(database.pool, cell);
    const db: Queryable = {
      query: () => Promise.reject(Object.assign(new Error('gone'), { code: '23514' })),
    };
    const batcher = createBatcher({
      db,
      cell,
      onFailure: () => {
        throw new Error('a listener with a mistake');
      },
    });
    const results = await Promise.allSettled([1, 2].map(() => batcher.submit(debit(accountId))));
    expect(results.map(r => r.status)).toEqual(['rejected', 'rejected']);
    await batcher.drain();
  });

  it('does not ask a closed ledger again and again', async () => {
    const accountId = await openFunded(database.pool, cell);
    let calls = 0;
    const db: Queryable = {
      query: () => {
        calls += 1;
        return Promise.reject(Object.assign(new Error('not the node of its cell'), { code: '55000' }));
      },
    };
    const batcher = createBatcher({ db, cell, lanes: 1 });
    const results = await Promise.allSettled([1, 2].map(() => batcher.submit(debit(accountId))));
    expect(results).toMatchObject([{ reason: UNAVAILABLE }, { reason: UNAVAILABLE }]);
    expect(calls).toBe(1);
  });

  it('leaves sound books', () => expectSoundBooks(database.pool, cell));
});
