import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAccount } from '../../src/ledger/accounts.ts';
import { createBatcher } from '../../src/ledger/batcher.ts';
import { createCellRouter, singleCell } from '../../src/ledger/cells.ts';
import { credit } from '../../src/ledger/grants.ts';
import { detachMonth, ensurePartitions } from '../../src/ledger/partitions.ts';
import { verifySeals } from '../../src/ledger/reconcile.ts';
import { sealWindow } from '../../src/ledger/seals.ts';
import { applyOperations } from '../../src/ledger/spending.ts';
import { listTransfers } from '../../src/ledger/statements.ts';
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

  it('detaches the oldest month behind a checkpoint and keeps the books provable', async () => {
    const { pool } = database;
    const oldest = month(-1);
    const early = new Date(oldest.getTime() + DAY);
    const accountId = (await openFunded(pool, cell, 0n)) + 7_000_000n;
    await openAccount(pool, cell, { accountId, environment: 'live', now: early });
    const oldGrant = { accountId, id: newId(early.getTime()), amountNanoUsd: 100n, contra: 100 } as const;
    await credit(pool, cell, { ...oldGrant, now: early });
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
    expect(await detachMonth(pool, cell, oldest, later)).toBe('detached');
    expect(await detachMonth(pool, cell, oldest, later)).toBe('not attached');

    await expectSoundBooks(pool, cell);
    expect((await verifySeals(pool, cell)).breaks).toEqual([]);
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
  });
});

describe('the router of cells', () => {
  it('asks once per account and forgets on demand', async () => {
    const asked: bigint[] = [];
    const router = createCellRouter({
      maxCached: 2,
      lookUp: accountId => {
        asked.push(accountId);
        return Promise.resolve(accountId === 404n ? undefined : CELLS[Number(accountId % 2n)]);
      },
    });
    expect(await router.cellOf(2n)).toBe(CELLS[0]);
    expect(await router.cellOf(3n)).toBe(CELLS[1]);
    await router.cellOf(2n);
    expect(asked).toEqual([2n, 3n]);
    router.forget(2n);
    await router.cellOf(2n);
    await router.cellOf(5n);
    await router.cellOf(3n);
    expect(asked).toEqual([2n, 3n, 2n, 5n, 3n]);
    expect(await router.cellOf(404n)).toBeUndefined();
    expect(await singleCell(CELLS[0]).cellOf(1n)).toBe(CELLS[0]);
  });
});
