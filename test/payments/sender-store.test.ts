import { randomBytes } from 'node:crypto';
import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../src/lib/ids.ts';
import { createSenderStore } from '../../src/payments/sender-store.ts';
import type { SignedTransaction } from '../../src/ports/sender-store.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let pool: Pool;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = new Pool({ connectionString: database.databaseUrl, max: 4 });
});

afterAll(async () => {
  await pool.end();
  await database.drop();
});

function signed(nonce: bigint): SignedTransaction {
  return { nonce, hash: `0x${randomBytes(32).toString('hex')}`, raw: `0x${randomBytes(8).toString('hex')}` };
}

async function newSender(mined = 5n) {
  const key = { network: 'eip155:8453', sender: `0x${randomBytes(20).toString('hex')}` };
  const store = createSenderStore(pool);
  expect(await store.initialise(key, mined)).toBe(mined);
  const nonces = async () => (await store.listLive(key, 0n, 100)).map(({ nonce }) => nonce);
  return { key, store, nonces };
}

describe('a group of signed payments', () => {
  it('is stored whole, in the order of its nonces', async () => {
    const { key, store, nonces } = await newSender();
    const guesses = [5n, 6n, 7n].map(nonce => ({ paymentId: newId(), signed: signed(nonce) }));
    expect(await store.store(key, guesses)).toEqual(guesses.map(() => ({ kind: 'stored' })));
    expect(await nonces()).toEqual([5n, 6n, 7n]);
    for (const { paymentId, signed: expected } of guesses) {
      expect(await store.findByPayment(paymentId)).toEqual([{ ...expected, sender: key.sender }]);
    }
  });

  it('gives a payment its first bytes, also when it is there twice, and leaves no gap', async () => {
    const { key, store, nonces } = await newSender();
    const [known, twice, last] = [newId(), newId(), newId()];
    const first = signed(5n);
    await store.store(key, [{ paymentId: known, signed: first }]);
    const second = signed(6n);
    const outcomes = await store.store(key, [
      { paymentId: twice, signed: second },
      { paymentId: twice, signed: signed(7n) },
      { paymentId: known, signed: signed(8n) },
      { paymentId: last, signed: signed(9n) },
    ]);
    expect(outcomes).toEqual([
      { kind: 'stored' },
      { kind: 'existing', transaction: second },
      { kind: 'existing', transaction: first },
      { kind: 'stale', nextNonce: 7n },
    ]);
    expect(await nonces()).toEqual([5n, 6n]);
  });

  it('is signed under the lock where the guesses were wrong', async () => {
    const { key, store, nonces } = await newSender();
    const known = newId();
    const first = signed(5n);
    await store.store(key, [{ paymentId: known, signed: first }]);
    const ids = [newId(), known, newId(), known, newId()];
    const results = await store.storeLocked(
      key,
      ids.map(paymentId => ({ paymentId, sign: signed })),
    );
    expect(results.map(({ nonce }) => nonce)).toEqual([6n, 5n, 7n, 5n, 8n]);
    expect([results[1], results[3]]).toEqual([first, first]);
    expect(await nonces()).toEqual([5n, 6n, 7n, 8n]);
  });

  it('shares the nonces with another replica that signs at the same time', async () => {
    const { key, store, nonces } = await newSender(0n);
    const sign = () =>
      store.storeLocked(
        key,
        Array.from({ length: 20 }, () => ({ paymentId: newId(), sign: signed })),
      );
    const results = (await Promise.all([sign(), sign(), sign()])).flat();
    expect(new Set(results.map(({ nonce }) => nonce)).size).toBe(60);
    expect(await nonces()).toEqual(Array.from({ length: 60 }, (_, nonce) => BigInt(nonce)));
  });
});
