import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listGrants, readBalanceAt } from '../../src/ledger/balances.ts';
import { createBatcher } from '../../src/ledger/batcher.ts';
import type { SpendingOperation } from '../../src/ledger/spending.ts';
import { listTransfers } from '../../src/ledger/statements.ts';
import { newId } from '../../src/lib/ids.ts';
import { CELLS, createLedgerDatabase, type LedgerDatabase, openFunded } from './support.ts';

let database: LedgerDatabase;

beforeAll(async () => {
  database = await createLedgerDatabase();
});

afterAll(() => database.close());

describe.each(CELLS)('%s', cell => {
  async function submit(operation: SpendingOperation) {
    const batcher = createBatcher({ db: database.pool, cell });
    return (await batcher.submit(operation)).status;
  }

  it('shows a statement whose lines, pages and past balances agree', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    for (let i = 1n; i <= 6n; i += 1n)
      await submit({ kind: 'debit', accountId, id: newId(), amountNanoUsd: i });
    const all = await listTransfers(pool, cell, accountId, { limit: 100 });
    expect(all.hasMore).toBe(false);
    expect(all.transfers.map(t => t.balanceAfterNanoUsd)).toEqual([79n, 85n, 90n, 94n, 97n, 99n, 100n]);
    const first = await listTransfers(pool, cell, accountId, { limit: 3 });
    const byCursor = await listTransfers(pool, cell, accountId, {
      limit: 4,
      beforeSeq: first.transfers[2]?.seq ?? 0n,
    });
    const byOffset = await listTransfers(pool, cell, accountId, { limit: 4, offset: 3 });
    expect(first.hasMore).toBe(true);
    expect([...first.transfers, ...byCursor.transfers]).toEqual(all.transfers);
    expect(byOffset).toEqual(byCursor);
    for (const line of all.transfers)
      expect(await readBalanceAt(pool, cell, accountId, line.createdAt)).toBeLessThanOrEqual(
        line.balanceAfterNanoUsd,
      );
    expect(await readBalanceAt(pool, cell, accountId, new Date())).toBe(79n);
    expect(await readBalanceAt(pool, cell, accountId, new Date(0))).toBe(0n);
    expect((await listGrants(pool, cell, accountId))[0]?.remainingNanoUsd).toBe(79n);
  });
});
