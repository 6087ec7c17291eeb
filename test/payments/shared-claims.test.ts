import { Pool, type PoolClient } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DEFAULT_CELL } from '../../src/db/queryable.ts';
import { newId } from '../../src/lib/ids.ts';
import { claimWalletPayments } from '../../src/payments/payment-claim.ts';
import { openPayments } from '../../src/payments/payment-opening.ts';
import { claimOpenPayments, registerNetworks } from '../../src/payments/payment-store.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { BASE, identityOf, newPayment } from '../support/new-payment.ts';

/** Longer than a claim takes, shorter than anybody waits for a test. */
const LOCK_TIMEOUT_MS = 3_000;
const LEASE_MS = 60_000;

let database: TestDatabase;
/** Of two replicas. */
let pool: Pool;
let otherPool: Pool;

beforeAll(async () => {
  database = await createTestDatabase();
  const connectionString = database.databaseUrl;
  pool = new Pool({ connectionString, max: 2 });
  otherPool = new Pool({ connectionString, max: 2, options: `-c lock_timeout=${LOCK_TIMEOUT_MS}` });
  await registerNetworks(pool, DEFAULT_CELL, [{ network: BASE, environment: 'live' }]);
});

afterAll(async () => {
  await pool.end();
  await otherPool.end();
  await database.drop();
});

/** Stores payments of one wallet that nobody works on. @returns their ids, the one that waits longest first */
async function storeDue(count: number): Promise<string[]> {
  const payer = `0x${'1'.repeat(40)}`;
  const ids: string[] = [];
  for (let serial = 0; serial < count; serial += 1) {
    const nonce = `0x${serial.toString(16).padStart(64, '0')}`;
    const paymentId = newId();
    const identity = identityOf({ payer, nonce });
    const claim = { identity, paymentId, environment: 'live' as const, wallet: `evm:${payer}` };
    const [claimed] = await claimWalletPayments(pool, [claim]);
    if (!claimed) throw new Error('the payment was not claimed');
    await openPayments(pool, DEFAULT_CELL, [
      newPayment({ paymentId, accountId: claimed.owner, payer, nonce }),
    ]);
    await pool.query(`UPDATE cell_0.payment SET due_at = now() - $2 * interval '1 s' WHERE payment_id = $1`, [
      paymentId,
      count - serial,
    ]);
    ids.push(paymentId);
  }
  return ids;
}

const claim = async (db: Pool | PoolClient, limit: number) => {
  const payments = await claimOpenPayments(db, DEFAULT_CELL, { limit, leaseMs: LEASE_MS, without: [] });
  return payments.map(({ paymentId }) => paymentId).sort();
};

it('open payments that one replica is just claiming hold up no other: it gets the rest at once', async () => {
  const ids = await storeDue(5);
  const first = await pool.connect();
  try {
    await first.query('BEGIN');
    expect(await claim(first, 2)).toEqual(ids.slice(0, 2).sort());
    expect(await claim(otherPool, 2)).toEqual(ids.slice(2, 4).sort());
    expect(await claim(otherPool, 5)).toEqual(ids.slice(4));
    expect(await claim(otherPool, 5)).toEqual([]);
    await first.query('ROLLBACK');
  } finally {
    first.release();
  }
  // What a replica took and lost again is there for the other one.
  expect(await claim(otherPool, 5)).toEqual(ids.slice(0, 2).sort());
});
