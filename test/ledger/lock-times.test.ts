import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setFrozen } from '../../src/ledger/corrections.ts';
import { detachMonth } from '../../src/ledger/partitions.ts';
import { applyOperations, type SpendingOperation } from '../../src/ledger/spending.ts';
import { newId } from '../../src/lib/ids.ts';
import { CELLS, createLedgerDatabase, expectSoundBooks, type LedgerDatabase, openFunded } from './support.ts';

let database: LedgerDatabase;

beforeAll(async () => {
  database = await createLedgerDatabase();
});

afterAll(() => database.close());

/** Resolves once so many sessions of the database wait for a lock. */
async function untilWaiting(sessions: number): Promise<void> {
  const waiting = async () => {
    const { rows } = await database.pool.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM pg_stat_activity
       WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return rows[0]?.n;
  };
  await expect.poll(waiting, { timeout: 10_000 }).toBe(sessions);
}

/** Runs `work` inside a transaction of somebody else, which is committed afterwards. */
async function inTransaction(work: (holder: PoolClient) => Promise<void>): Promise<void> {
  const holder = await database.pool.connect();
  try {
    await holder.query('BEGIN');
    await work(holder);
  } finally {
    await holder.query('COMMIT');
    holder.release();
  }
}

describe.each(CELLS)('%s', cell => {
  const debit = (accountId: bigint): SpendingOperation => ({
    kind: 'debit',
    accountId,
    id: newId(),
    amountNanoUsd: 1n,
  });
  const calls: Record<string, (accountId: bigint) => Promise<unknown>> = {
    'one operation': accountId => applyOperations(database.pool, cell, [debit(accountId)]),
    'a batch': accountId => applyOperations(database.pool, cell, [debit(accountId), debit(accountId)]),
    'an order': accountId =>
      setFrozen(database.pool, cell, { accountId, id: newId(), frozen: false, reason: 'a test', actor: 'x' }),
  };

  it.each(Object.entries(calls))(
    'gives %s that waited the time at which it got the account, so that times follow the sequence',
    async (_, call) => {
      const accountId = await openFunded(database.pool, cell, 10n);
      let running: Promise<unknown> = Promise.resolve();
      let released = '';
      await inTransaction(async holder => {
        await holder.query(`SELECT FROM "${cell}".account WHERE account_id = ${accountId} FOR NO KEY UPDATE`);
        running = call(accountId);
        await untilWaiting(1);
        const { rows } = await holder.query<{ now: string }>('SELECT clock_timestamp()::text AS now');
        released = rows[0]?.now ?? '';
      });
      await running;
      const { rows } = await database.pool.query(
        `SELECT count(*) > 0 AS booked, bool_and(created_at >= $2::timestamptz) AS after
         FROM "${cell}".transfer WHERE account_id = $1 AND seq > 1`,
        [accountId, released],
      );
      expect(rows).toEqual([{ booked: true, after: true }]);
    },
  );

  it('closes no month under a call that is about to leave a hold in it', async () => {
    const { pool } = database;
    const today = new Date();
    const at = (months: number, ms = 0) =>
      new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth() + months, 1) + ms);
    const [oldest, later] = [at(-1, 86_400_000), at(1, 86_400_000)];
    const accountId = await openFunded(pool, cell, 10n);
    const id = newId(oldest.getTime());
    let closing: Promise<string> = Promise.resolve('');
    await inTransaction(async holder => {
      await holder.query(`SELECT "${cell}".apply_one(2::smallint, $1, $2, 5, 60000, $3)`, [
        accountId,
        id,
        oldest,
      ]);
      closing = detachMonth(pool, cell, oldest, later);
      await untilWaiting(1);
    });
    expect(await closing).toBe('open holds');
    const release = { kind: 'release', accountId, id } as const;
    expect((await applyOperations(pool, cell, [release]))[0]?.status).toBe('applied');
    await expectSoundBooks(pool, cell);
  });
});
