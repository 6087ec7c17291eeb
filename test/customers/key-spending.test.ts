import { Pool } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createApiKeyCheck } from '../../src/accounts/api-key-check.ts';
import { createKeySpending } from '../../src/accounts/key-spending.ts';
import { createApiKey } from '../../src/customers/api-keys.ts';
import { createCustomer } from '../../src/customers/customers.ts';
import { createTestDatabase } from '../support/database.ts';

const NOON_MS = Date.UTC(2026, 10, 20, 12, 0, 0);
const DAY_MS = 86_400_000;

let database: Awaited<ReturnType<typeof createTestDatabase>>;
let db: Pool;
let nowMs = NOON_MS;
const clock = { nowMs: () => nowMs };

beforeAll(async () => {
  database = await createTestDatabase();
  db = new Pool({ connectionString: database.databaseUrl, max: 8 });
});

beforeEach(() => {
  nowMs = NOON_MS;
});

afterAll(async () => {
  await db.end();
  await database.drop();
});

/** A key of a new customer, as a request that presents it is known. */
async function holderOf(spendingCapNanoUsd?: bigint) {
  const { customerId } = await createCustomer(db, 'live');
  const { apiKey } = await createApiKey(db, {
    dialect: 'dria',
    environment: 'live',
    customerId,
    ...(spendingCapNanoUsd !== undefined && { spendingCapNanoUsd }),
  });
  return createApiKeyCheck({ db, clock }).authenticate({ apiKey, dialect: 'dria', callerAddress: '::1' });
}

const spending = () => createKeySpending({ db, clock });

/** Tells for each amount in turn whether the key may spend it. */
async function trySpending(holder: Awaited<ReturnType<typeof holderOf>>, amounts: bigint[]) {
  const allowed: boolean[] = [];
  for (const amount of amounts) allowed.push((await spending().reserve(holder, amount)) !== undefined);
  return allowed;
}

describe('a key with a cap', () => {
  it('spends up to it and not beyond, and again next month', async () => {
    const holder = await holderOf(10n);
    expect(await trySpending(holder, [4n, 4n, 3n, 2n, 1n])).toEqual([true, true, false, true, false]);
    nowMs = Date.UTC(2026, 10, 30, 23, 59, 59, 999);
    expect(await trySpending(holder, [1n])).toEqual([false]);
    nowMs += 1;
    expect(await trySpending(holder, [9n, 2n, 1n])).toEqual([true, false, true]);
  });

  it('may not begin with more than its cap', async () => {
    expect(await trySpending(await holderOf(10n), [11n, 10n, 0n])).toEqual([false, true, true]);
  });

  it('is never passed by calls at once, of any number of processes', async () => {
    const holder = await holderOf(50n);
    const calls = Array.from({ length: 40 }, () => spending().reserve(holder, 7n));
    const allowed = (await Promise.all(calls)).filter(Boolean);
    expect(allowed).toHaveLength(7);
  });

  it('gets back what was not charged, and is charged what it cost more', async () => {
    const holder = await holderOf(10n);
    const first = await spending().reserve(holder, 10n);
    await first?.settle(3n);
    const second = await spending().reserve(holder, 7n);
    expect(second).toBeDefined();
    await second?.settle(0n);
    const third = await spending().reserve(holder, 5n);
    await third?.settle(9n);
    expect(await trySpending(holder, [1n])).toEqual([false]);
  });

  it('is not given this month what was not charged last month', async () => {
    const holder = await holderOf(10n);
    const before = await spending().reserve(holder, 10n);
    nowMs += 30 * DAY_MS;
    expect(await trySpending(holder, [10n])).toEqual([true]);
    await before?.settle(0n);
    expect(await trySpending(holder, [1n])).toEqual([false]);
  });

  it('keeps its counter apart from other keys', async () => {
    const [one, other] = [await holderOf(5n), await holderOf(5n)];
    expect(await trySpending(one, [5n])).toEqual([true]);
    expect(await trySpending(other, [5n])).toEqual([true]);
  });
});

describe('a key without a cap', () => {
  it('spends what its account has, and nothing is counted or asked', async () => {
    const holder = await holderOf();
    expect(holder.spendingCapNanoUsd).toBeUndefined();
    const unreachable = new Pool({ connectionString: 'postgres://127.0.0.1:1/none' });
    const reservation = await createKeySpending({ db: unreachable, clock }).reserve(holder, 10n ** 18n);
    await reservation?.settle(0n);
    expect(reservation).toBeDefined();
    await unreachable.end();
  });
});

it('a cap that cannot be read is nobody’s permission', async () => {
  const holder = await holderOf(5n);
  const unreachable = new Pool({ connectionString: 'postgres://127.0.0.1:1/none' });
  await expect(createKeySpending({ db: unreachable, clock }).reserve(holder, 1n)).rejects.toMatchObject({
    code: 'unavailable',
  });
  await unreachable.end();
});
