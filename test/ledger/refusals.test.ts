import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAccount } from '../../src/ledger/accounts.ts';
import { listGrants, readBalance, readBalanceAt } from '../../src/ledger/balances.ts';
import { createBatcher } from '../../src/ledger/batcher.ts';
import { adjust, refund, reverseTransfer, setCreditLine, setFrozen } from '../../src/ledger/corrections.ts';
import { addGrant, credit, voidGrant } from '../../src/ledger/grants.ts';
import { applyOperations, type SpendingOperation } from '../../src/ledger/spending.ts';
import { listTransfers } from '../../src/ledger/statements.ts';
import { sweep } from '../../src/ledger/sweeps.ts';
import { newId } from '../../src/lib/ids.ts';
import {
  CELLS,
  countTransfers,
  createLedgerDatabase,
  expectSoundBooks,
  type LedgerDatabase,
  openFunded,
} from './support.ts';

const BAD_AMOUNTS = {
  zero: 0n,
  negative: -1n,
  'beyond int8': 2n ** 63n,
  'beyond what an account can hold': 2n ** 62n,
  // Callers outside the type system: a fraction of a nano-USD cannot exist.
  fractional: 1.5 as unknown as bigint,
  'not a number': Number.NaN as unknown as bigint,
};

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

  describe.each(Object.entries(BAD_AMOUNTS))('an amount that is %s', (_, amountNanoUsd) => {
    it('is refused by every operation and writes nothing', async () => {
      const { pool } = database;
      const accountId = await openFunded(pool, cell);
      const holdId = newId();
      await submit({ kind: 'hold', accountId, id: holdId, amountNanoUsd: 10n, lifetimeMs: 60_000 });
      const debitId = newId();
      await submit({ kind: 'debit', accountId, id: debitId, amountNanoUsd: 10n });
      const before = await countTransfers(pool, cell, accountId);
      const order = { accountId, amountNanoUsd, ...BY_HAND };
      const grant = { accountId, amountNanoUsd, contra: 100 } as const;
      const statuses = [
        await submit({ kind: 'debit', accountId, id: newId(), amountNanoUsd }),
        await submit({ kind: 'hold', accountId, id: newId(), amountNanoUsd, lifetimeMs: 1_000 }),
        (await credit(pool, cell, { ...grant, id: newId() })).status,
        (await addGrant(pool, cell, { ...grant, id: newId(), source: 'promotional' })).status,
      ];
      expect(statuses).toEqual(statuses.map(() => 'invalid_amount'));
      // A refund cannot exceed its original, a zero capture is a free end, a negative adjustment is allowed.
      const refunded = await refund(pool, cell, { ...order, id: newId(), originalId: debitId });
      expect(['invalid_amount', 'exceeds_original']).toContain(refunded.status);
      if (amountNanoUsd !== 0n)
        expect(await submit({ kind: 'capture', accountId, id: holdId, amountNanoUsd })).toBe(
          'invalid_amount',
        );
      if (amountNanoUsd !== -1n)
        expect((await adjust(pool, cell, { ...order, id: newId(), contra: 6 })).status).toBe(
          'invalid_amount',
        );
      if (amountNanoUsd !== 0n)
        expect((await setCreditLine(pool, cell, { ...order, id: newId() })).status).toBe('invalid_amount');
      expect(await countTransfers(pool, cell, accountId)).toBe(before);
    });
  });

  it('refuses a lifetime that is not a positive number of milliseconds', async () => {
    const accountId = await openFunded(database.pool, cell);
    for (const lifetimeMs of [0, -1, 0.5, Number.NaN, 2 ** 31]) {
      expect(await submit({ kind: 'hold', accountId, id: newId(), amountNanoUsd: 1n, lifetimeMs })).toBe(
        'invalid_expiry',
      );
      expect(await submit({ kind: 'renew', accountId, id: newId(), lifetimeMs })).toBe('invalid_expiry');
    }
  });

  it('refuses every operation on an unknown account', async () => {
    const { pool } = database;
    const accountId = 999_999_999n;
    const base = { accountId, id: newId(), amountNanoUsd: 1n };
    const order = {
      ...base,
      ...BY_HAND,
      originalId: newId(),
      grantId: newId(),
      contra: 6,
      frozen: true,
    } as const;
    const statuses = [
      await submit({ kind: 'debit', ...base }),
      await submit({ kind: 'hold', ...base, lifetimeMs: 1 }),
      await submit({ kind: 'capture', ...base }),
      await submit({ kind: 'release', ...base }),
      await submit({ kind: 'renew', ...base, lifetimeMs: 1 }),
      await submit({ kind: 'debit', ...base, accountId: 2n ** 70n }),
      (await credit(pool, cell, { ...base, contra: 100 })).status,
      (await voidGrant(pool, cell, order)).status,
      (await refund(pool, cell, order)).status,
      (await reverseTransfer(pool, cell, order)).status,
      (await adjust(pool, cell, order)).status,
      (await setFrozen(pool, cell, order)).status,
      (await setCreditLine(pool, cell, order)).status,
    ];
    expect(statuses).toEqual(statuses.map(() => 'unknown_account'));
    expect(await readBalance(pool, cell, accountId)).toBeUndefined();
    expect(await countTransfers(pool, cell, accountId)).toBe(0);
  });

  it('refuses new spending of a frozen account and finishes what was reserved', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const [captured, released] = [newId(), newId()];
    await submit({ kind: 'hold', accountId, id: captured, amountNanoUsd: 10n, lifetimeMs: 60_000 });
    await submit({ kind: 'hold', accountId, id: released, amountNanoUsd: 10n, lifetimeMs: 60_000 });
    await setFrozen(pool, cell, { accountId, id: newId(), frozen: true, ...BY_HAND });
    expect(await submit({ kind: 'debit', accountId, id: newId(), amountNanoUsd: 1n })).toBe('frozen');
    expect(await submit({ kind: 'hold', accountId, id: newId(), amountNanoUsd: 1n, lifetimeMs: 1 })).toBe(
      'frozen',
    );
    // The grant and the freeze.
    expect(await countTransfers(pool, cell, accountId)).toBe(2);
    expect(await submit({ kind: 'capture', accountId, id: captured, amountNanoUsd: 4n })).toBe('applied');
    expect(await submit({ kind: 'release', accountId, id: released })).toBe('applied');
    expect(
      (await credit(pool, cell, { accountId, id: newId(), amountNanoUsd: 4n, contra: 100 })).status,
    ).toBe('applied');
    await setFrozen(pool, cell, { accountId, id: newId(), frozen: false, ...BY_HAND });
    expect(await submit({ kind: 'debit', accountId, id: newId(), amountNanoUsd: 100n })).toBe('applied');
    await expectSoundBooks(pool, cell);
  });

  it('refuses what names a hold that is not open, and books nothing', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell);
    const other = await openFunded(pool, cell);
    const id = newId();
    await submit({ kind: 'hold', accountId: other, id, amountNanoUsd: 5n, lifetimeMs: 60_000 });
    const statuses = [
      await submit({ kind: 'capture', accountId, id, amountNanoUsd: 5n }),
      await submit({ kind: 'release', accountId, id }),
      await submit({ kind: 'renew', accountId, id, lifetimeMs: 1_000 }),
    ];
    expect(statuses).toEqual(['unknown_hold', 'unknown_hold', 'unknown_hold']);
    expect(await submit({ kind: 'debit', accountId: other, id, amountNanoUsd: 5n })).toBe('conflict');
    expect(await submit({ kind: 'capture', accountId, id: 'not a uuid', amountNanoUsd: 5n })).toBe(
      'id_out_of_range',
    );
    expect(await countTransfers(pool, cell, accountId)).toBe(1);
    expect(await countTransfers(pool, cell, other)).toBe(1);
  });

  it('keeps the money of test networks and of live networks apart', async () => {
    const { pool } = database;
    const live = await openFunded(pool, cell, 0n);
    const accountId = live + 5_000_000n;
    expect((await openAccount(pool, cell, { accountId, environment: 'test' })).status).toBe('applied');
    expect((await openAccount(pool, cell, { accountId, environment: 'test' })).status).toBe('replayed');
    expect((await openAccount(pool, cell, { accountId, environment: 'live' })).status).toBe('conflict');
    const grant = { id: newId(), amountNanoUsd: 5n };
    expect((await credit(pool, cell, { ...grant, accountId, contra: 100 })).status).toBe('wrong_environment');
    expect((await credit(pool, cell, { ...grant, accountId: live, contra: 200 })).status).toBe(
      'wrong_environment',
    );
    expect((await credit(pool, cell, { ...grant, accountId, contra: 200 })).status).toBe('applied');
    await expectSoundBooks(pool, cell);
  });

  it('does not let one bad item touch its neighbours in a call', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 10n);
    const results = await applyOperations(pool, cell, [
      { kind: 'debit', accountId, id: newId(), amountNanoUsd: 4n },
      { kind: 'debit', accountId, id: newId(), amountNanoUsd: 7n },
      { kind: 'capture', accountId, id: newId(), amountNanoUsd: 1n },
      { kind: 'debit', accountId: 77_777_777n, id: newId(), amountNanoUsd: 1n },
      { kind: 'debit', accountId, id: newId(), amountNanoUsd: 2n ** 62n },
      { kind: 'debit', accountId, id: newId(), amountNanoUsd: 6n },
    ]);
    expect(results.map(r => r.status)).toEqual([
      'applied',
      'insufficient',
      'unknown_hold',
      'unknown_account',
      'invalid_amount',
      'applied',
    ]);
    await expectSoundBooks(pool, cell);
  });

  it('knows the ids of orders that move nothing, and of whatever else was booked', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const promised = {
      accountId,
      id: newId(),
      amountNanoUsd: 10n,
      source: 'promotional',
      contra: 2,
    } as const;
    await addGrant(pool, cell, promised);
    await submit({ kind: 'hold', accountId, id: newId(), amountNanoUsd: 110n, lifetimeMs: 60_000 });
    const [freeze, thaw, line, emptied] = [newId(), newId(), newId(), newId()];
    const orders = [
      await setFrozen(pool, cell, { accountId, id: freeze, frozen: true, ...BY_HAND }),
      await setFrozen(pool, cell, { accountId, id: thaw, frozen: false, ...BY_HAND }),
      await setCreditLine(pool, cell, { accountId, id: line, amountNanoUsd: 1_000n, ...BY_HAND }),
      // Everything is held, so there is nothing to void yet.
      await voidGrant(pool, cell, { accountId, id: emptied, grantId: promised.id, ...BY_HAND }),
    ];
    expect(orders.map(o => o.status)).toEqual(orders.map(() => 'applied'));
    const before = await countTransfers(pool, cell, accountId);
    for (const id of [freeze, thaw, line, emptied, promised.id]) {
      const debit = { kind: 'debit', accountId, id, amountNanoUsd: 1n } as const;
      const other = { ...debit, id: newId(), amountNanoUsd: 5_000n };
      const hold = { kind: 'hold', accountId, id, amountNanoUsd: 1n, lifetimeMs: 1_000 } as const;
      expect(await submit(debit)).toBe('conflict');
      expect(await submit(hold)).toBe('conflict');
      const batch = await applyOperations(pool, cell, [debit, other]);
      expect(batch.map(r => r.status)).toEqual(['conflict', 'insufficient']);
    }
    expect(await countTransfers(pool, cell, accountId)).toBe(before);
    const late = { accountId, id: newId(0), frozen: true, ...BY_HAND };
    expect((await setFrozen(pool, cell, late)).status).toBe('id_out_of_range');
    await expectSoundBooks(pool, cell);
  });

  it('calls a repetition with other content a conflict, down to lifetime, contra, reason and actor', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const hold = { kind: 'hold', accountId, id: newId(), amountNanoUsd: 9n, lifetimeMs: 60_000 } as const;
    const order = { accountId, id: newId(), amountNanoUsd: 5n, contra: 6, ...BY_HAND } as const;
    await submit(hold);
    await submit({ kind: 'renew', accountId, id: hold.id, lifetimeMs: 90_000 });
    await adjust(pool, cell, order);
    const ofHold = async () => [
      await submit(hold),
      await submit({ ...hold, lifetimeMs: 90_000 }),
      await submit({ ...hold, amountNanoUsd: 8n }),
    ];
    expect(await ofHold()).toEqual(['replayed', 'conflict', 'conflict']);
    await submit({ kind: 'capture', accountId, id: hold.id, amountNanoUsd: 9n });
    expect(await ofHold()).toEqual(['replayed', 'conflict', 'conflict']);
    const adjusted = await Promise.all(
      [
        order,
        { ...order, contra: 3 as const },
        { ...order, reason: 'another' },
        { ...order, actor: 'other' },
      ].map(o => adjust(pool, cell, o)),
    );
    expect(adjusted.map(r => r.status)).toEqual(['replayed', 'conflict', 'conflict', 'conflict']);
    await expectSoundBooks(pool, cell);
  });

  it('refuses kinds, arguments and contra codes that it does not know', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const wrong = [
      [0, 0],
      [6, 0],
      [null, 0],
      [1, 7],
      [1, null],
      [3, -1],
    ];
    for (const [kind, argument] of wrong) {
      const { rows } = await pool.query<{ one: number; many: number[] }>(
        `SELECT (SELECT status FROM "${cell}".apply_one($1::smallint, $2, $3, 5, $4::int)) AS one,
           (SELECT status FROM "${cell}".apply(ARRAY[$1, 1]::smallint[], ARRAY[$2, $2]::bigint[],
              ARRAY[$3, $5]::uuid[], '{5,500}', ARRAY[$4, 0]::int[])) AS many`,
        [kind, accountId, newId(), argument, newId()],
      );
      // 17 is unknown_operation, 2 is insufficient: the neighbour is judged by itself.
      expect(rows[0]).toEqual({ one: 17, many: [17, 2] });
    }
    for (const contra of [0, 300, -1]) {
      const order = { accountId, id: newId(), amountNanoUsd: 5n, contra: contra as 6, ...BY_HAND };
      expect((await adjust(pool, cell, order)).status).toBe('invalid_contra');
      expect((await credit(pool, cell, order)).status).toBe('invalid_contra');
    }
    expect(await countTransfers(pool, cell, accountId)).toBe(1);
  });

  it('does not send an id twice in one call', async () => {
    const accountId = await openFunded(database.pool, cell, 100n);
    const debit = { kind: 'debit', accountId, id: newId(), amountNanoUsd: 1n } as const;
    await expect(applyOperations(database.pool, cell, [debit, debit])).rejects.toThrow('once per account');
    expect(await countTransfers(database.pool, cell, accountId)).toBe(1);
  });

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
