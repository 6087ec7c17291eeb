import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBalance } from '../../src/ledger/balances.ts';
import { createBatcher } from '../../src/ledger/batcher.ts';
import { refund, reverseTransfer } from '../../src/ledger/corrections.ts';
import { credit } from '../../src/ledger/grants.ts';
import type { SpendingOperation } from '../../src/ledger/spending.ts';
import { sweep } from '../../src/ledger/sweeps.ts';
import { newId } from '../../src/lib/ids.ts';
import { CELLS, createLedgerDatabase, expectSoundBooks, type LedgerDatabase, openFunded } from './support.ts';

const BY_HAND = { reason: 'a test', actor: 'tester' };

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

  it('gives no credit back for money that never came, and all of it once it is made good', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 0n);
    const paid = { accountId, id: newId(), amountNanoUsd: 100n, contra: 100 } as const;
    await credit(pool, cell, paid);
    const spent = [newId(), newId()];
    for (const id of spent) await submit({ kind: 'debit', accountId, id, amountNanoUsd: 40n });
    const undone = { accountId, id: newId(), originalId: paid.id, ...BY_HAND };
    expect((await reverseTransfer(pool, cell, undone)).postedNanoUsd).toBe(0n);
    const refunds = [
      { originalId: spent[0] ?? '', amountNanoUsd: 30n },
      { originalId: spent[1] ?? '', amountNanoUsd: 40n },
      { originalId: spent[0] ?? '', amountNanoUsd: 10n },
    ];
    const posted = [];
    for (const part of refunds)
      posted.push((await refund(pool, cell, { accountId, id: newId(), ...part, ...BY_HAND })).postedNanoUsd);
    // 80 were used and never paid for; every refund only makes that good.
    expect(posted).toEqual([0n, 0n, 0n]);
    await credit(pool, cell, { ...paid, id: newId() });
    const later = newId();
    await submit({ kind: 'debit', accountId, id: later, amountNanoUsd: 10n });
    const last = { accountId, id: newId(), originalId: later, amountNanoUsd: 10n, ...BY_HAND };
    expect((await refund(pool, cell, last)).postedNanoUsd).toBe(100n);
    await expectSoundBooks(pool, cell);
  });

  it('refunds a late capture by the id of its hold, once', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const id = newId();
    await submit({ kind: 'hold', accountId, id, amountNanoUsd: 10n, lifetimeMs: 1 });
    await sweep(pool, cell, { now: new Date(Date.now() + 60_000) });
    await submit({ kind: 'capture', accountId, id, amountNanoUsd: 10n, overage: 'available' });
    const order = { accountId, id: newId(), originalId: id, amountNanoUsd: 10n, ...BY_HAND };
    const statuses = [
      (await refund(pool, cell, order)).status,
      (await refund(pool, cell, order)).status,
      (await refund(pool, cell, { ...order, id: newId() })).status,
    ];
    expect(statuses).toEqual(['applied', 'replayed', 'exceeds_original']);
    expect((await readBalance(pool, cell, accountId))?.postedNanoUsd).toBe(100n);
    await expectSoundBooks(pool, cell);
  });

  it('refuses what would carry an account beyond its capacity instead of overflowing', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 0n);
    const most = 2n ** 62n - 1n;
    const debits = [newId(), newId()];
    for (const id of debits) {
      await credit(pool, cell, { accountId, id: newId(), amountNanoUsd: most, contra: 100 });
      expect(await submit({ kind: 'debit', accountId, id, amountNanoUsd: most })).toBe('applied');
    }
    const order = (originalId = '') => ({
      accountId,
      id: newId(),
      originalId,
      amountNanoUsd: most,
      ...BY_HAND,
    });
    expect((await refund(pool, cell, order(debits[0]))).status).toBe('applied');
    expect((await refund(pool, cell, order(debits[1]))).status).toBe('invalid_amount');
    expect((await reverseTransfer(pool, cell, order(debits[1]))).status).toBe('invalid_amount');
    await expectSoundBooks(pool, cell);
  });
});
