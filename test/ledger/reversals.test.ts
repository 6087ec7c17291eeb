import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBalance } from '../../src/ledger/balances.ts';
import { CONTRA } from '../../src/ledger/chart.ts';
import { refund, reverseTransfer } from '../../src/ledger/corrections.ts';
import { addGrant, credit, voidGrant } from '../../src/ledger/grants.ts';
import { applyOperations, type SpendingOperation } from '../../src/ledger/spending.ts';
import { listTransfers } from '../../src/ledger/statements.ts';
import { sweep } from '../../src/ledger/sweeps.ts';
import { newId } from '../../src/lib/ids.ts';
import { CELLS, createLedgerDatabase, expectSoundBooks, type LedgerDatabase, openFunded } from './support.ts';

const BASE = 100;
const BY_HAND = { reason: 'a test', actor: 'tester' };

let database: LedgerDatabase;

beforeAll(async () => {
  database = await createLedgerDatabase();
});

afterAll(() => database.close());

describe.each(CELLS)('%s: a reversal', cell => {
  /** Credit of an account, as a payment brings it; answers the id of the grant. */
  async function pay(accountId: bigint, amountNanoUsd: bigint): Promise<string> {
    const id = newId();
    const result = await credit(database.pool, cell, { accountId, id, amountNanoUsd, contra: BASE });
    expect(result.status).toBe('applied');
    return id;
  }

  async function spend(operation: SpendingOperation, now?: Date): Promise<string> {
    const [result] = await applyOperations(database.pool, cell, [operation], { now });
    return result?.status ?? '';
  }

  async function debit(accountId: bigint, amountNanoUsd: bigint): Promise<string> {
    const id = newId();
    expect(await spend({ kind: 'debit', accountId, id, amountNanoUsd })).toBe('applied');
    return id;
  }

  async function hold(accountId: bigint, amountNanoUsd: bigint): Promise<string> {
    const id = newId();
    const operation = { kind: 'hold', accountId, id, amountNanoUsd, lifetimeMs: 60_000 } as const;
    expect(await spend(operation)).toBe('applied');
    return id;
  }

  async function reverse(accountId: bigint, originalId: string, now?: Date): Promise<bigint> {
    const order = { accountId, id: newId(), originalId, ...BY_HAND, now };
    const result = await reverseTransfer(database.pool, cell, order);
    expect(result.status).toBe('applied');
    return result.postedNanoUsd;
  }

  async function giveBack(accountId: bigint, originalId: string, amountNanoUsd: bigint): Promise<bigint> {
    const order = { accountId, id: newId(), originalId, amountNanoUsd, ...BY_HAND };
    const result = await refund(database.pool, cell, order);
    expect(result.status).toBe('applied');
    return result.postedNanoUsd;
  }

  async function available(accountId: bigint): Promise<bigint | undefined> {
    return (await readBalance(database.pool, cell, accountId))?.availableNanoUsd;
  }

  /** What the account's transfers moved, by system account, without those that come to nothing. */
  async function sides(accountId: bigint): Promise<Record<number, bigint>> {
    const { transfers } = await listTransfers(database.pool, cell, accountId, { limit: 100 });
    const sums: Record<number, bigint> = {};
    for (const { contra, amountNanoUsd } of transfers) sums[contra] = (sums[contra] ?? 0n) + amountNanoUsd;
    return Object.fromEntries(Object.entries(sums).filter(([, amount]) => amount !== 0n));
  }

  it('makes nobody a debtor of credit that was voided before, and owes it to nobody either', async () => {
    const accountId = await openFunded(database.pool, cell, 0n);
    const paid = await pay(accountId, 100n);
    const order = { accountId, id: newId(), grantId: paid, ...BY_HAND };
    await voidGrant(database.pool, cell, order);
    expect(await sides(accountId)).toEqual({ [BASE]: 100n, [CONTRA.refundsDue]: -100n });
    await reverse(accountId, paid);
    expect(await sides(accountId)).toEqual({});
    await pay(accountId, 50n);
    expect(await giveBack(accountId, await debit(accountId, 50n), 50n)).toBe(50n);
    await expectSoundBooks(database.pool, cell);
  });

  it('makes nobody a debtor of credit that has expired', async () => {
    const accountId = await openFunded(database.pool, cell, 0n);
    const now = new Date();
    const grant = { accountId, id: newId(), amountNanoUsd: 100n, source: 'paid', contra: BASE } as const;
    await addGrant(database.pool, cell, { ...grant, expiresAt: new Date(now.getTime() + 1_000), now });
    const later = new Date(now.getTime() + 5_000);
    await sweep(database.pool, cell, { now: later });
    expect(await sides(accountId)).toEqual({ [BASE]: 100n, [CONTRA.expired]: -100n });
    await reverse(accountId, grant.id, later);
    expect(await sides(accountId)).toEqual({});
    await pay(accountId, 50n);
    expect(await giveBack(accountId, await debit(accountId, 50n), 50n)).toBe(50n);
    await expectSoundBooks(database.pool, cell);
  });

  it('counts what was used of a grant and nothing else, when some of it has expired and some was voided', async () => {
    const accountId = await openFunded(database.pool, cell, 0n);
    const now = new Date();
    const grant = { accountId, id: newId(), amountNanoUsd: 100n, source: 'paid', contra: BASE } as const;
    await addGrant(database.pool, cell, { ...grant, expiresAt: new Date(now.getTime() + 1_000), now });
    await debit(accountId, 10n);
    const held = await hold(accountId, 40n);
    const later = new Date(now.getTime() + 5_000);
    await sweep(database.pool, cell, { now: later });
    await voidGrant(database.pool, cell, {
      accountId,
      id: newId(),
      grantId: grant.id,
      ...BY_HAND,
      now: later,
    });
    await spend({ kind: 'release', accountId, id: held }, later);
    await sweep(database.pool, cell, { now: later });
    expect(await sides(accountId)).toEqual({
      [BASE]: 100n,
      [CONTRA.revenue]: -10n,
      [CONTRA.expired]: -50n,
      [CONTRA.refundsDue]: -40n,
    });
    await reverse(accountId, grant.id, later);
    expect(await sides(accountId)).toEqual({ [CONTRA.revenue]: -10n, [CONTRA.uncollected]: 10n });
    await expectSoundBooks(database.pool, cell);
  });

  it('ends held credit with the hold, and then nothing is written off of it', async () => {
    const accountId = await openFunded(database.pool, cell, 0n);
    const paid = await pay(accountId, 100n);
    const held = await hold(accountId, 100n);
    expect(await reverse(accountId, paid)).toBe(100n);
    expect(await sides(accountId)).toEqual({ [CONTRA.uncollected]: 100n });
    expect(await spend({ kind: 'release', accountId, id: held })).toBe('applied');
    expect(await available(accountId)).toBe(0n);
    expect(await spend({ kind: 'debit', accountId, id: newId(), amountNanoUsd: 1n })).toBe('insufficient');
    expect(await sides(accountId)).toEqual({});
    await pay(accountId, 50n);
    expect(await giveBack(accountId, await debit(accountId, 50n), 50n)).toBe(50n);
    await expectSoundBooks(database.pool, cell);
  });

  it('lets a hold be captured that its credit was placed for, and counts that as used', async () => {
    const accountId = await openFunded(database.pool, cell, 0n);
    const paid = await pay(accountId, 100n);
    const held = await hold(accountId, 100n);
    await reverse(accountId, paid);
    expect(await spend({ kind: 'capture', accountId, id: held, amountNanoUsd: 30n })).toBe('applied');
    expect(await available(accountId)).toBe(0n);
    expect(await sides(accountId)).toEqual({ [CONTRA.revenue]: -30n, [CONTRA.uncollected]: 30n });
    // The customer used 30 that were never paid for: the refund of it becomes no credit.
    expect(await giveBack(accountId, held, 30n)).toBe(0n);
    expect(await sides(accountId)).toEqual({});
    await expectSoundBooks(database.pool, cell);
  });

  it('takes what was used from other credit and leaves the holds to the credit that is to go', async () => {
    const accountId = await openFunded(database.pool, cell, 0n);
    const undone = await pay(accountId, 100n);
    await pay(accountId, 50n);
    const used = await debit(accountId, 50n);
    const held = await hold(accountId, 50n);
    expect(await reverse(accountId, undone)).toBe(50n);
    await spend({ kind: 'release', accountId, id: held });
    // Paid 50 and used 50: nothing is left, and nothing is owed.
    expect(await available(accountId)).toBe(0n);
    expect(await sides(accountId)).toEqual({ [BASE]: 50n, [CONTRA.revenue]: -50n });
    expect(await giveBack(accountId, used, 50n)).toBe(50n);
    await expectSoundBooks(database.pool, cell);
  });

  it('ends held credit as soon as other credit stands for the hold', async () => {
    const accountId = await openFunded(database.pool, cell, 0n);
    const undone = await pay(accountId, 100n);
    const held = await hold(accountId, 100n);
    await reverse(accountId, undone);
    await pay(accountId, 60n);
    expect(await readBalance(database.pool, cell, accountId)).toMatchObject({
      postedNanoUsd: 100n,
      availableNanoUsd: 0n,
    });
    await spend({ kind: 'release', accountId, id: held });
    expect(await available(accountId)).toBe(60n);
    await expectSoundBooks(database.pool, cell);
  });
});
