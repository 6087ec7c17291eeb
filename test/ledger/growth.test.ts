import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAccount } from '../../src/ledger/accounts.ts';
import { readBalance, readBalanceAt } from '../../src/ledger/balances.ts';
import { createBatcher } from '../../src/ledger/batcher.ts';
import { credit } from '../../src/ledger/grants.ts';
import { detachMonth, ensurePartitions } from '../../src/ledger/partitions.ts';
import { reconcileLedger, verifySeals } from '../../src/ledger/reconcile.ts';
import { sealWindow } from '../../src/ledger/seals.ts';
import { applyOperations } from '../../src/ledger/spending.ts';
import { listTransfers } from '../../src/ledger/statements.ts';
import { sweep } from '../../src/ledger/sweeps.ts';
import { newId } from '../../src/lib/ids.ts';
import { CELLS, createLedgerDatabase, expectSoundBooks, type LedgerDatabase, openFunded } from './support.ts';

let database: LedgerDatabase;

beforeAll(async () => {
  database = await createLedgerDatabase();
});

afterAll(() => database.close());

const DAY = 86_400_000;

/** The first instant of the month that lies so many months from now. */
function month(offset: number): Date {
  const now = new Date();
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + offset, 1));
}

describe.each(CELLS)('%s', cell => {
  it('makes the missing months without a gap, once, also when two makers meet', async () => {
    const { pool } = database;
    const from = month(12);
    const { rows } = await pool.query<{ missing: number }>(
      `SELECT (12 * extract(year FROM gap) + extract(month FROM gap))::int AS missing
       FROM (SELECT age($1::timestamptz, "${cell}".id_time(id_until)) AS gap FROM "${cell}".transfer_window) g`,
      [month(15)],
    );
    const added = await Promise.all([1, 2].map(() => ensurePartitions(pool, cell, { from, months: 3 })));
    expect(added.toSorted((x, y) => x - y)).toEqual([0, rows[0]?.missing]);
    const accountId = await openFunded(pool, cell, 10n);
    const now = new Date(from.getTime() + DAY);
    const id = newId(now.getTime());
    const [result] = await applyOperations(
      pool,
      cell,
      [{ kind: 'debit', accountId, id, amountNanoUsd: 1n }],
      { now },
    );
    expect(result?.status).toBe('applied');
  });

  it('refuses ids that no month can hold, instead of failing', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 10n);
    for (const at of [0, Date.now() - 400 * DAY, Date.now() + 10 * 60_000, Date.now() + 4_000 * DAY]) {
      const operation = { kind: 'debit', accountId, id: newId(at), amountNanoUsd: 1n } as const;
      const batch = [operation, { ...operation, id: newId(at) }];
      const results = [
        ...(await applyOperations(pool, cell, [operation])),
        ...(await applyOperations(pool, cell, batch)),
      ];
      expect(results.map(result => result.status)).toEqual(Array(3).fill('id_out_of_range'));
    }
  });

  it('admits no hold that could never end, where the log ends within the next minutes', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const { rows } = await pool.query<{ end: Date }>(
      `SELECT "${cell}".id_time(id_until) AS end FROM "${cell}".transfer_window`,
    );
    const end = rows[0]?.end.getTime() ?? 0;
    const now = new Date(end - 60_000);
    const beyond = { accountId, amountNanoUsd: 1n, lifetimeMs: 1_000 };
    const [single] = await applyOperations(pool, cell, [{ kind: 'hold', ...beyond, id: newId(end + 1) }], {
      now,
    });
    const batch = await applyOperations(
      pool,
      cell,
      [
        { kind: 'hold', ...beyond, id: newId(end + 1) },
        { kind: 'debit', ...beyond, id: newId(end) },
        { kind: 'hold', ...beyond, id: newId(end - 1) },
      ],
      { now },
    );
    expect([single, ...batch].map(result => result?.status)).toEqual([
      'id_out_of_range',
      'id_out_of_range',
      'id_out_of_range',
      'applied',
    ]);
    expect((await sweep(pool, cell, { now: new Date(end) })).holds).toBeGreaterThan(0);
    await expectSoundBooks(pool, cell);
  });

  it('sweeps on beside a hold that the log cannot end, and reports it', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const lost = newId(Date.now() + 4_000 * DAY);
    const good = { kind: 'hold', accountId, id: newId(), amountNanoUsd: 5n, lifetimeMs: 1 } as const;
    await applyOperations(pool, cell, [good]);
    await pool.query(
      `INSERT INTO "${cell}".hold VALUES (${accountId}, '${lost}', 7, now() - interval '1 day', 1)`,
    );
    await pool.query(`UPDATE "${cell}".account SET held = held + 7 WHERE account_id = ${accountId}`);
    expect((await sweep(pool, cell, { now: new Date(Date.now() + DAY) })).holds).toBeGreaterThan(0);
    expect((await readBalance(pool, cell, accountId))?.heldNanoUsd).toBe(7n);
    const { breaks } = await reconcileLedger(pool, cell);
    expect(breaks).toEqual([
      { problem: 'an open hold is outside the log and can never end', accountId, detail: lost },
    ]);
    await pool.query(`DELETE FROM "${cell}".hold WHERE id = '${lost}'`);
    await pool.query(`UPDATE "${cell}".account SET held = held - 7 WHERE account_id = ${accountId}`);
  });

  it('detaches the oldest month behind a checkpoint and keeps the books provable', async () => {
    const { pool } = database;
    const oldest = month(-1);
    const early = new Date(oldest.getTime() + DAY);
    const accountId = (await openFunded(pool, cell, 0n)) + 7_000_000n;
    await openAccount(pool, cell, { accountId, environment: 'live', now: early });
    const oldGrant = { accountId, id: newId(early.getTime()), amountNanoUsd: 100n, contra: 100 } as const;
    await credit(pool, cell, { ...oldGrant, now: early });
    const idle = accountId + 1n;
    await openAccount(pool, cell, { accountId: idle, environment: 'live', now: early });
    await credit(pool, cell, { ...oldGrant, accountId: idle, now: early });
    const batcher = createBatcher({ db: pool, cell });
    const held = newId(early.getTime() + 1);
    const hold = { kind: 'hold', accountId, id: held, amountNanoUsd: 5n, lifetimeMs: 60_000 } as const;
    await applyOperations(pool, cell, [hold], { now: early });
    await batcher.submit({ kind: 'debit', accountId, id: newId(), amountNanoUsd: 1n });

    const later = new Date(month(1).getTime() + DAY);
    expect(await detachMonth(pool, cell, month(0), later)).toBe('not the oldest month');
    expect(await detachMonth(pool, cell, oldest, new Date())).toBe('too recent');
    expect(await detachMonth(pool, cell, oldest, later)).toBe('open holds');
    await batcher.submit({ kind: 'capture', accountId, id: held, amountNanoUsd: 2n });
    await batcher.submit({ kind: 'debit', accountId, id: newId(), amountNanoUsd: 1n });
    expect(await detachMonth(pool, cell, oldest, later)).toBe('not sealed');
    await sealWindow(pool, cell);
    const edit = `UPDATE "${cell}".transfer SET contra = contra + $2 WHERE account_id = $1 AND seq = 1`;
    await behindTheLedger(edit, [idle, 1]);
    expect(await detachMonth(pool, cell, oldest, later)).toBe('changed since it was sealed');
    await behindTheLedger(edit, [idle, -1]);
    const reader = await pool.connect();
    await reader.query('BEGIN');
    await reader.query(`SELECT count(*) FROM "${cell}".transfer`);
    expect(await detachMonth(pool, cell, oldest, later)).toBe('busy');
    await reader.query('COMMIT');
    reader.release();
    expect(await detachMonth(pool, cell, oldest, later)).toBe('detached');
    expect(await detachMonth(pool, cell, oldest, later)).toBe('not attached');

    await expectSoundBooks(pool, cell);
    expect((await verifySeals(pool, cell)).breaks).toEqual([]);
    expect(await readBalanceAt(pool, cell, idle, new Date())).toBe(100n);
    const { transfers } = await listTransfers(pool, cell, accountId, { limit: 10 });
    expect(transfers.map(line => line.seq)).toEqual([4n, 2n]);
    // The proof of a replay has left with the month, so the id is refused and not booked again.
    expect((await credit(pool, cell, oldGrant)).status).toBe('id_out_of_range');
    expect((await batcher.submit({ kind: 'debit', accountId, id: newId(), amountNanoUsd: 96n })).status).toBe(
      'applied',
    );
    await expectSoundBooks(pool, cell);

    await pool.query(`UPDATE "${cell}".account SET posted = posted + 1 WHERE account_id = $1`, [accountId]);
    await expect(expectSoundBooks(pool, cell)).rejects.toThrow();
    await pool.query(`UPDATE "${cell}".account SET posted = posted - 1 WHERE account_id = $1`, [accountId]);

    // An archived month is dropped; the maker of months must not open it again.
    const name = `transfer_${oldest.toISOString().slice(0, 7).replace('-', '_')}`;
    await pool.query(`DROP TABLE "${cell}".${name}`);
    expect(await ensurePartitions(pool, cell, { from: oldest })).toBe(0);
    await expectTamperingShows(accountId);
  });

  /** As only the owner of the database can: no trigger sees it. */
  async function behindTheLedger(statement: string, values: unknown[]): Promise<void> {
    const client = await database.pool.connect();
    try {
      await client.query("SET session_replication_role = 'replica'");
      await client.query(statement, values);
      await client.query("SET session_replication_role = 'origin'");
    } finally {
      client.release();
    }
  }

  /** What is left of a block that had transfers of the detached month, and what stands for that month. */
  async function expectTamperingShows(accountId: bigint): Promise<void> {
    const { pool } = database;
    const changed = (table: string, change: string, back: string) => [
      `UPDATE "${cell}".${table} SET ${change} WHERE ${table === 'contra_total' ? 'contra = 1' : `account_id = ${accountId}`}`,
      `UPDATE "${cell}".${table} SET ${back} WHERE ${table === 'contra_total' ? 'contra = 1' : `account_id = ${accountId}`}`,
    ];
    const cases = [
      [
        changed('transfer', 'hold_amount = hold_amount + 1', 'hold_amount = hold_amount - 1'),
        'transfers changed',
      ],
      [changed('checkpoint', 'amount = amount + 1', 'amount = amount - 1'), 'chain broken'],
      [
        changed('contra_total', 'amount = amount + 1', 'amount = amount - 1'),
        'system account is not the sum of its transfers',
      ],
    ] as const;
    const client = await pool.connect();
    try {
      await client.query("SET session_replication_role = 'replica'");
      for (const [[tamper = '', restore = ''], problem] of cases) {
        await client.query(tamper);
        const found = [
          ...(await verifySeals(pool, cell)).breaks,
          ...(await reconcileLedger(pool, cell)).breaks,
        ];
        expect(found.map(item => item.problem)).toContain(problem);
        await client.query(restore);
        expect((await verifySeals(pool, cell)).breaks).toEqual([]);
        await expectSoundBooks(pool, cell);
      }
      await client.query("SET session_replication_role = 'origin'");
    } finally {
      client.release();
    }
  }
});
