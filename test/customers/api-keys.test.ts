import { Pool } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createApiKeyCheck } from '../../src/accounts/api-key-check.ts';
import { hashApiKey } from '../../src/customers/api-key-format.ts';
import { createApiKey, listApiKeys, revokeApiKey } from '../../src/customers/api-keys.ts';
import { type Customer, createCustomer } from '../../src/customers/customers.ts';
import type { Queryable } from '../../src/db/queryable.ts';
import { createTestDatabase } from '../support/database.ts';

const UNKNOWN_KEY = `dkn_live_${'Zz9'.repeat(13)}Q`;
const NOW_MS = Date.UTC(2026, 10, 20, 18, 0, 0);

let database: Awaited<ReturnType<typeof createTestDatabase>>;
let db: Pool;
let customer: Customer;

beforeAll(async () => {
  database = await createTestDatabase();
  db = new Pool({ connectionString: database.databaseUrl, max: 5 });
  customer = await createCustomer(db, 'live');
});

afterAll(async () => {
  await db.end();
  await database.drop();
});

/** One process with its own memory and clocks, which only move when told. */
function startProcess() {
  let elapsedMs = 0;
  let queries = 0;
  const counting: Queryable = {
    query: statement => {
      queries += 1;
      return db.query(statement);
    },
  };
  const check = createApiKeyCheck({
    db: counting,
    clock: { nowMs: () => NOW_MS + elapsedMs },
    elapsedMs: () => elapsedMs,
  });
  return {
    authenticate: (apiKey: string | undefined, callerAddress = '192.0.2.1') =>
      check.authenticate({ apiKey, dialect: 'dria', callerAddress }),
    wait(ms: number) {
      elapsedMs += ms;
    },
    queries: () => queries,
  };
}

let first: ReturnType<typeof startProcess>;
let second: ReturnType<typeof startProcess>;
beforeEach(() => {
  first = startProcess();
  second = startProcess();
});

const issue = (changes: Partial<Parameters<typeof createApiKey>[1]> = {}) =>
  createApiKey(db, {
    dialect: 'dria',
    customerId: customer.customerId,
    environment: 'live',
    ...changes,
  });

const invalid = { code: 'unauthorized', message: 'the API key is missing or not valid' };

describe('a key', () => {
  it('acts for its customer', async () => {
    const { apiKey, keyId } = await issue();
    expect(await first.authenticate(apiKey)).toEqual({ keyId, customer, environment: 'live' });
  });

  it('is stored as a hash alone', async () => {
    const { apiKey, keyId } = await issue();
    const { rows } = await db.query('SELECT * FROM directory.api_key WHERE key_id = $1', [keyId]);
    expect(rows[0].key_hash).toEqual(hashApiKey('dria', apiKey));
    expect(rows[0].last_four).toBe(apiKey.slice(-4));
    expect(JSON.stringify(rows)).not.toContain(apiKey.slice('dkn_live_'.length, -4));
  });

  it('is refused in the same words whether missing, malformed, unknown, expired or revoked', async () => {
    const expired = await issue({ expiresAt: new Date(NOW_MS) });
    const revoked = await issue();
    await revokeApiKey(db, { ...revoked, customerId: customer.customerId });
    for (const key of [undefined, '', 'dkn_live_short', UNKNOWN_KEY, expired.apiKey, revoked.apiKey]) {
      await expect(first.authenticate(key)).rejects.toMatchObject(invalid);
    }
  });

  it('ends at its expiry, also where it is remembered', async () => {
    const { apiKey } = await issue({ expiresAt: new Date(NOW_MS + 500) });
    first.wait(499);
    await first.authenticate(apiKey);
    first.wait(1);
    await expect(first.authenticate(apiKey)).rejects.toMatchObject(invalid);
    expect(first.queries()).toBe(1);
  });

  it('works from the addresses it names and no other one', async () => {
    const { apiKey } = await issue({ allowedAddresses: ['10.1.2.3/8', '2001:db8::1'] });
    for (const address of ['10.9.9.9', '::ffff:10.9.9.9', '2001:db8::1']) {
      await first.authenticate(apiKey, address);
    }
    for (const address of ['11.0.0.1', '2001:db8::2', '::1']) {
      await expect(first.authenticate(apiKey, address)).rejects.toMatchObject({
        code: 'address_not_allowed',
      });
    }
  });

  it('cannot be made for addresses that are none', async () => {
    await expect(issue({ allowedAddresses: ['office'] })).rejects.toThrow('allowed addresses');
  });

  it('of the test environment can never name a live customer', async () => {
    await expect(issue({ environment: 'test' })).rejects.toMatchObject({
      constraint: 'api_key_customer_fkey',
    });
    const tester = await createCustomer(db, 'test');
    const { apiKey } = await issue({ environment: 'test', customerId: tester.customerId });
    expect(apiKey).toMatch(/^dkn_test_/);
    expect(await first.authenticate(apiKey)).toMatchObject({ environment: 'test', customer: tester });
  });

  it('cannot be checked without the database, which is not the fault of the key', async () => {
    const unreachable = new Pool({ connectionString: 'postgres://127.0.0.1:1/none' });
    const offline = createApiKeyCheck({ db: unreachable, clock: { nowMs: () => NOW_MS } });
    await expect(
      offline.authenticate({ apiKey: UNKNOWN_KEY, dialect: 'dria', callerAddress: '::1' }),
    ).rejects.toMatchObject({ code: 'unavailable' });
    await unreachable.end();
  });
});

describe('a revocation', () => {
  it('reaches every process within a second', async () => {
    const key = await issue();
    for (const each of [first, second]) await each.authenticate(key.apiKey);
    expect(await revokeApiKey(db, { ...key, customerId: customer.customerId })).toBe(true);
    for (const each of [first, second]) {
      each.wait(1_000);
      await expect(each.authenticate(key.apiKey)).rejects.toMatchObject(invalid);
    }
  });

  it('happens once, and only to a key of this customer', async () => {
    const key = await issue();
    const stranger = await createCustomer(db, 'live');
    expect(await revokeApiKey(db, { ...key, customerId: stranger.customerId })).toBe(false);
    await first.authenticate(key.apiKey);
    const order = { ...key, customerId: customer.customerId };
    expect(await Promise.all([revokeApiKey(db, order), revokeApiKey(db, order)])).toEqual(
      expect.arrayContaining([true, false]),
    );
  });
});

describe('the memory of a process', () => {
  it('saves look-ups for a second, counted from the question', async () => {
    const { apiKey } = await issue();
    await Promise.all(Array.from({ length: 20 }, () => first.authenticate(apiKey)));
    first.wait(999);
    await first.authenticate(apiKey);
    expect(first.queries()).toBe(1);
    first.wait(1);
    await first.authenticate(apiKey);
    expect(first.queries()).toBe(2);
  });

  it('does not hold unknown keys, so a key works as soon as it is made', async () => {
    for (let n = 0; n < 3; n += 1) await expect(first.authenticate(UNKNOWN_KEY)).rejects.toThrow();
    expect(first.queries()).toBe(3);
  });

  it('spares the database what cannot be a key', async () => {
    await expect(first.authenticate(`${UNKNOWN_KEY}x`)).rejects.toMatchObject(invalid);
    expect(first.queries()).toBe(0);
  });
});

describe("a customer's keys", () => {
  it('are listed newest first, in pages, without the keys', async () => {
    const owner = await createCustomer(db, 'live');
    const made = [];
    for (let n = 0; n < 5; n += 1) {
      made.unshift(await issue({ customerId: owner.customerId, allowedAddresses: ['10.0.0.0/8'] }));
      await db.query('SELECT pg_sleep(0.002)');
    }
    await revokeApiKey(db, { customerId: owner.customerId, keyId: made[0]?.keyId ?? '' });

    const page = await listApiKeys(db, { customerId: owner.customerId }, { limit: 2 });
    expect(page).toMatchObject([
      { keyId: made[0]?.keyId, revokedAt: expect.any(Date), allowedAddresses: ['10.0.0.0/8'] },
      { keyId: made[1]?.keyId, revokedAt: undefined, lastFour: made[1]?.apiKey.slice(-4) },
    ]);
    const rest = await listApiKeys(db, { customerId: owner.customerId }, { before: made[1]?.keyId ?? '' });
    expect(rest.map(key => key.keyId)).toEqual(made.slice(2).map(key => key.keyId));
    for (const { apiKey } of made) expect(JSON.stringify([page, rest])).not.toContain(apiKey);
  });
});
