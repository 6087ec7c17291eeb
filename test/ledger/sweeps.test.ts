import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBalance } from '../../src/ledger/balances.ts';
import { createBatcher } from '../../src/ledger/batcher.ts';
import { addGrant } from '../../src/ledger/grants.ts';
import { listTransfers } from '../../src/ledger/statements.ts';
import { sweep } from '../../src/ledger/sweeps.ts';
import { newId } from '../../src/lib/ids.ts';
import { CELLS, createLedgerDatabase, expectSoundBooks, type LedgerDatabase, openFunded } from './support.ts';

const HOUR = 3_600_000;

let database: LedgerDatabase;

beforeAll(async () => {
  database = await createLedgerDatabase(10);
});

afterAll(() => database.close());

describe.each(CELLS)('%s', cell => {
  const inOneHour = () => ({ now: new Date(Date.now() + HOUR) });

  async function place(accountId: bigint, lifetimeMs: number): Promise<string> {
    const id = newId();
    const batcher = createBatcher({ db: database.pool, cell });
    const result = await batcher.submit({ kind: 'hold', accountId, id, amountNanoUsd: 10n, lifetimeMs });
    expect(result.status).toBe('applied');
    return id;
  }

  it('ends every expired hold once when eight replicas sweep at the same time', async () => {
    const { pool } = database;
    const accounts = await Promise.all(Array.from({ length: 20 }, () => openFunded(pool, cell, 100n)));
    for (const accountId of accounts) for (let i = 0; i < 5; i += 1) await place(accountId, 1_000);
    const lasting = await place(accounts[0] ?? 0n, 2 * HOUR);
    const results = await Promise.all(
      Array.from({ length: 8 }, () => sweep(pool, cell, { batch: 7, ...inOneHour() })),
    );
    // Whoever met only locked accounts left them to the others; one more round finds nothing forgotten.
    const rest = await sweep(pool, cell, inOneHour());
    expect([...results, rest].reduce((sum, result) => sum + result.holds, 0)).toBe(100);
    for (const accountId of accounts) {
      const held = accountId === accounts[0] ? 10n : 0n;
      expect((await readBalance(pool, cell, accountId))?.heldNanoUsd).toBe(held);
    }
    const batcher = createBatcher({ db: pool, cell });
    const late = await batcher.submit({ kind: 'release', accountId: accounts[0] ?? 0n, id: lasting });
    expect(late.status).toBe('applied');
    await expectSoundBooks(pool, cell);
  });

  it('skips an account that is in use, and waits for it when nothing else is left', async () => {
    const { pool } = database;
    const [busy, idle] = [await openFunded(pool, cell, 100n), await openFunded(pool, cell, 100n)];
    await place(busy, 1_000);
    await place(idle, 2_000);
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      await client.query(`SELECT FROM "${cell}".account WHERE account_id = $1 FOR NO KEY UPDATE`, [busy]);
      const sweeping = sweep(pool, cell, inOneHour());
      await expect.poll(async () => (await readBalance(pool, cell, idle))?.heldNanoUsd).toBe(0n);
      expect((await readBalance(pool, cell, busy))?.heldNanoUsd).toBe(10n);
      await client.query('COMMIT');
      expect((await sweeping).holds).toBe(2);
    } finally {
      client.release();
    }
    expect((await readBalance(pool, cell, busy))?.heldNanoUsd).toBe(0n);
  });

  it('leaves a hold alone that is renewed while the sweeper waits for its account', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const id = await place(accountId, 1_000);
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      await client.query(`SELECT FROM "${cell}".account WHERE account_id = $1 FOR NO KEY UPDATE`, [
        accountId,
      ]);
      const sweeping = sweep(pool, cell, inOneHour());
      const waiting = async () => {
        const { rows } = await pool.query<{ waiting: string }>(
          "SELECT count(*) AS waiting FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        );
        return Number(rows[0]?.waiting);
      };
      await expect.poll(waiting).toBe(1);
      await client.query(`SELECT "${cell}".apply_one(5::smallint, $1, $2, 0, $3)`, [accountId, id, 3 * HOUR]);
      await client.query('COMMIT');
      expect((await sweeping).holds).toBe(0);
    } finally {
      client.release();
    }
    expect((await readBalance(pool, cell, accountId))?.heldNanoUsd).toBe(10n);
  });

  /** What the outbox says of an account. */
  async function told(accountId: bigint) {
    const { rows } = await database.pool.query<{ type: string; environment: string; payload: object }>(
      `SELECT type, environment, payload FROM "${cell}".outbox WHERE account_id = $1`,
      [accountId],
    );
    return rows;
  }

  it('tells of each hold that has expired, also where it had to wait for the account', async () => {
    const { pool } = database;
    const [busy, idle] = [await openFunded(pool, cell, 100n), await openFunded(pool, cell, 100n)];
    const [first, second] = [await place(idle, 1_000), await place(busy, 2_000)];
    await place(idle, 2 * HOUR);
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      await client.query(`SELECT FROM "${cell}".account WHERE account_id = $1 FOR NO KEY UPDATE`, [busy]);
      const sweeping = sweep(pool, cell, inOneHour());
      await expect.poll(async () => (await told(idle)).length).toBe(1);
      await client.query('COMMIT');
      await sweeping;
    } finally {
      client.release();
    }
    const event = (holdId: string) => ({
      type: 'hold.expired',
      environment: 'live',
      payload: { holdId, amountNanoUsd: '10', expiredAt: expect.any(String) },
    });
    expect([await told(idle), await told(busy)]).toEqual([[event(first)], [event(second)]]);
    await sweep(pool, cell, inOneHour());
    expect(await told(idle)).toHaveLength(1);
  });

  it('tells of none that was captured or released, however late', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const batcher = createBatcher({ db: pool, cell });
    const [captured, released] = [await place(accountId, 1), await place(accountId, 1)];
    const order = { accountId, id: captured, amountNanoUsd: 4n };
    expect((await batcher.submit({ kind: 'capture', ...order })).status).toBe('applied');
    expect((await batcher.submit({ kind: 'release', accountId, id: released })).status).toBe('applied');
    await sweep(pool, cell, inOneHour());
    expect(await told(accountId)).toEqual([]);
  });

  it('tells of no hold of a sent top-up, whose own events say what became of it', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const topupId = newId();
    const { rows } = await pool.query<{ outcome: string }>(
      `SELECT outcome FROM "${cell}".accept_topup($1, $2, $3, 'live', gen_random_uuid(), 'claude', 10, NULL, NULL, '{}',
         'voucher', false, NULL, NULL, NULL, 1000, 1000)`,
      [topupId, `txn_${topupId}`, accountId],
    );
    expect(rows).toEqual([{ outcome: 'accepted' }]);
    expect((await readBalance(pool, cell, accountId))?.heldNanoUsd).toBe(10n);
    expect((await sweep(pool, cell, inOneHour())).holds).toBe(1);
    expect((await readBalance(pool, cell, accountId))?.heldNanoUsd).toBe(0n);
    expect(await told(accountId)).toEqual([]);
    await expectSoundBooks(pool, cell);
  });

  it('ends no hold that it cannot tell of', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    await place(accountId, 1_000);
    await pool.query(
      `ALTER TABLE "${cell}".outbox ADD CONSTRAINT closed CHECK (type <> 'hold.expired') NOT VALID`,
    );
    await expect(sweep(pool, cell, inOneHour())).rejects.toThrow(/closed/);
    expect((await readBalance(pool, cell, accountId))?.heldNanoUsd).toBe(10n);
    await pool.query(`ALTER TABLE "${cell}".outbox DROP CONSTRAINT closed`);
    expect((await sweep(pool, cell, inOneHour())).holds).toBe(1);
    expect(await told(accountId)).toHaveLength(1);
  });

  it('forfeits ended grants of idle accounts and books them as expired', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const expiresAt = new Date(Date.now() + 60_000);
    const promotion = { source: 'promotional', contra: 2, expiresAt } as const;
    await addGrant(pool, cell, { accountId, id: newId(), amountNanoUsd: 30n, ...promotion });
    await place(accountId, 2 * HOUR);
    const { accounts } = await sweep(pool, cell, inOneHour());
    expect(accounts).toBe(1);
    const { transfers } = await listTransfers(pool, cell, accountId, { limit: 1 });
    expect(transfers[0]).toMatchObject({ code: 'grant_expired', contra: 3, amountNanoUsd: -30n });
    expect((await sweep(pool, cell, inOneHour())).accounts).toBe(0);
    await expectSoundBooks(pool, cell);
  });
});
