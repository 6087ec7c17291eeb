import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OpenAccount, openAccount } from '../../src/ledger/accounts.ts';
import { readBalance } from '../../src/ledger/balances.ts';
import { createBatcher } from '../../src/ledger/batcher.ts';
import { adjust, refund, reverseTransfer, setCreditLine, setFrozen } from '../../src/ledger/corrections.ts';
import { addGrant, credit, voidGrant } from '../../src/ledger/grants.ts';
import { applyOperations, type SpendingOperation } from '../../src/ledger/spending.ts';
import { newId } from '../../src/lib/ids.ts';
import {
  CELLS,
  countTransfers,
  createLedgerDatabase,
  expectSoundBooks,
  type LedgerDatabase,
  openFunded,
  readState,
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
      const before = await readState(pool, cell, accountId);
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
      expect(refunded.status).toBe(amountNanoUsd === 2n ** 62n ? 'exceeds_original' : 'invalid_amount');
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
      expect(await readState(pool, cell, accountId)).toEqual(before);
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
    expect(await readState(pool, cell, accountId)).toEqual({
      account: null,
      transfers: 0,
      holds: 0,
      credit_grants: 0,
      operator_actions: 0,
    });
  });

  it('refuses new spending of a frozen account, and finishes and corrects what was there', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const [captured, released, debit, other] = [newId(), newId(), newId(), newId()];
    const hold = { kind: 'hold', accountId, amountNanoUsd: 10n, lifetimeMs: 60_000 } as const;
    await submit({ ...hold, id: captured });
    await submit({ ...hold, id: released });
    for (const id of [debit, other]) await submit({ kind: 'debit', accountId, id, amountNanoUsd: 3n });
    await setFrozen(pool, cell, { accountId, id: newId(), frozen: true, ...BY_HAND });
    const before = await readState(pool, cell, accountId);
    expect(await submit({ kind: 'debit', accountId, id: newId(), amountNanoUsd: 1n })).toBe('frozen');
    expect(await submit({ ...hold, id: newId() })).toBe('frozen');
    expect(await readState(pool, cell, accountId)).toEqual(before);

    const order = () => ({ accountId, id: newId(), ...BY_HAND });
    const grant = { accountId, id: newId(), amountNanoUsd: 4n, contra: 100 } as const;
    const statuses = [
      await submit({ kind: 'renew', accountId, id: captured, lifetimeMs: 90_000 }),
      await submit({ kind: 'capture', accountId, id: captured, amountNanoUsd: 4n }),
      await submit({ kind: 'release', accountId, id: released }),
      (await credit(pool, cell, grant)).status,
      (await voidGrant(pool, cell, { ...order(), grantId: grant.id })).status,
      (await refund(pool, cell, { ...order(), originalId: debit, amountNanoUsd: 3n })).status,
      (await reverseTransfer(pool, cell, { ...order(), originalId: other })).status,
      (await adjust(pool, cell, { ...order(), amountNanoUsd: 4n, contra: 6 })).status,
      (await setCreditLine(pool, cell, { ...order(), amountNanoUsd: 5n })).status,
    ];
    expect(statuses).toEqual(statuses.map(() => 'applied'));
    const balance = await readBalance(pool, cell, accountId);
    expect(balance).toMatchObject({ frozen: true, postedNanoUsd: 100n, heldNanoUsd: 0n });
    await setFrozen(pool, cell, { ...order(), frozen: false });
    expect(await submit({ kind: 'debit', accountId, id: newId(), amountNanoUsd: 105n })).toBe('applied');
    await expectSoundBooks(pool, cell);
  });

  const LONG = 'x'.repeat(501);
  const MALFORMED: [string, string, Record<string, unknown>, string[]][] = [
    ['an account beyond int8', 'unknown_account', { accountId: 2n ** 70n }, ['all']],
    ['an account that is no bigint', 'unknown_account', { accountId: 7 }, ['all']],
    ['an id that is no UUID', 'id_out_of_range', { id: 'nope' }, ['all']],
    ['an original that is no UUID', 'unknown_transfer', { originalId: 'x' }, ['refund', 'reverse']],
    ['a grant that is no UUID', 'unknown_grant', { grantId: 'x' }, ['void']],
    ['a contra beyond smallint', 'invalid_contra', { contra: 40_000 }, ['grant', 'adjust']],
    ['a contra that is no number', 'invalid_contra', { contra: 1.5 }, ['grant', 'adjust']],
    ['a priority beyond smallint', 'unknown_operation', { priority: 40_000 }, ['grant']],
    ['a priority that is no number', 'unknown_operation', { priority: Number.NaN }, ['grant']],
    ['an unknown source', 'unknown_operation', { source: 'found' }, ['grant']],
    ['an expiry that is no time', 'invalid_expiry', { expiresAt: new Date(Number.NaN) }, ['grant']],
    ['an expiry long ago', 'invalid_expiry', { expiresAt: new Date(-8.64e15) }, ['grant']],
    ['no reason', 'unknown_operation', { reason: '' }, ['orders']],
    ['too long a reason', 'unknown_operation', { reason: LONG }, ['orders']],
    ['a reason that no database stores', 'unknown_operation', { reason: 'a\0b' }, ['orders']],
    ['no actor', 'unknown_operation', { actor: '' }, ['orders']],
    ['too long an actor', 'unknown_operation', { actor: LONG }, ['orders']],
    ['what is neither frozen nor thawed', 'unknown_operation', { frozen: 'yes' }, ['freeze']],
  ];

  it.each(MALFORMED)('refuses %s as %s and writes nothing', async (_, status, wrong, names) => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const debitId = newId();
    await submit({ kind: 'debit', accountId, id: debitId, amountNanoUsd: 9n });
    const before = await readState(pool, cell, accountId);
    const base = { accountId, id: newId(), amountNanoUsd: 1n, ...BY_HAND, ...wrong };
    const order = { originalId: debitId, grantId: newId(), contra: 6 as const, frozen: true, ...base };
    const grant = { source: 'paid' as const, contra: 100 as const, ...base };
    const orders = {
      void: () => voidGrant(pool, cell, order),
      refund: () => refund(pool, cell, order),
      reverse: () => reverseTransfer(pool, cell, order),
      adjust: () => adjust(pool, cell, order),
      freeze: () => setFrozen(pool, cell, order),
      line: () => setCreditLine(pool, cell, order),
    };
    const all = { ...orders, grant: () => addGrant(pool, cell, grant) };
    const chosen = { all: Object.values(all), orders: Object.values(orders) };
    const calls = names.flatMap(name => chosen[name as 'all'] ?? [all[name as 'grant']]);
    for (const call of calls) expect((await call()).status).toBe(status);
    expect(await readState(pool, cell, accountId)).toEqual(before);
  });

  it('takes the longest reason and actor that it allows, counted in characters', async () => {
    const accountId = await openFunded(database.pool, cell, 100n);
    const words = { reason: '𝄞'.repeat(500), actor: '𝄞'.repeat(200) };
    const order = { accountId, id: newId(), frozen: false, ...words };
    expect((await setFrozen(database.pool, cell, order)).status).toBe('applied');
  });

  it('opens no account without a number or an environment', async () => {
    const open = async (accountId: unknown, environment: unknown) =>
      (await openAccount(database.pool, cell, { accountId, environment } as OpenAccount)).status;
    for (const accountId of [0n, -1n, 2n ** 63n, 7])
      expect(await open(accountId, 'live')).toBe('unknown_account');
    expect(await open(424_242n, 'staging')).toBe('wrong_environment');
    expect(await readBalance(database.pool, cell, 424_242n)).toBeUndefined();
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
});
