import { Pool } from 'pg';
import { privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAccounts } from '../../../src/accounts/accounts.ts';
import { createSignIn, type SignInService } from '../../../src/accounts/sign-in.ts';
import {
  consumeNonce,
  consumeNonces,
  deleteExpiredNonces,
  type UsedProof,
} from '../../../src/customers/proof-nonces.ts';
import { createWalletSignatures } from '../../../src/customers/wallet-signatures.ts';
import type { Queryable } from '../../../src/db/queryable.ts';
import { shareStatements } from '../../../src/db/shared-statements.ts';
import { createTestDatabase } from '../../support/database.ts';
import {
  account,
  iso,
  messageOf,
  NOW_MS,
  proofHeader,
  stranger,
  WALLET,
} from '../../unit/siwx/signed-proof.ts';
import { type VeniceFixture, veniceApp } from '../../unit/venice/venice-app.ts';

const MEMORY_MS = 330_000;
/** By the database's clock nothing is deleted before. */
const KEPT_MS = MEMORY_MS + 120_000;
const domains = ['gw.example.com'];
const signatures = createWalletSignatures([]);

let database: Awaited<ReturnType<typeof createTestDatabase>>;
let db: Pool;
/** A second process on the same database. */
let otherDb: Pool;

beforeAll(async () => {
  database = await createTestDatabase();
  db = new Pool({ connectionString: database.databaseUrl, max: 5 });
  otherDb = new Pool({ connectionString: database.databaseUrl, max: 5 });
  // Dropping the database ends connections that are still open; nobody is left to care.
  for (const pool of [db, otherDb]) pool.on('error', () => undefined);
});

afterAll(async () => {
  await db.end();
  await otherDb.end();
  await database.drop();
});

let nowMs: number;
let signIn: SignInService;
const clock = { nowMs: () => nowMs };

beforeEach(async () => {
  await db.query('TRUNCATE directory.proof_nonce');
  nowMs = NOW_MS;
  signIn = createSignIn({ db, clock, signatures, domains });
});

async function usedNonces(): Promise<number> {
  const result = await db.query<{ count: number }>('SELECT count(*)::int FROM directory.proof_nonce');
  return result.rows[0]?.count ?? expect.unreachable();
}

const refused = (reason: string) => ({ code: 'proof_invalid', details: { reason } });

describe('a proof', () => {
  it('signs its wallet in once', async () => {
    const header = await proofHeader(messageOf());
    expect(await signIn.requireWallet(header)).toEqual({ network: 'eip155:8453', wallet: WALLET });
    await expect(signIn.requireWallet(header)).rejects.toMatchObject(refused('NONCE_REUSED'));
  });

  it('signs in once among any number of callers in several processes', async () => {
    const other = createSignIn({ db: otherDb, clock, signatures, domains });
    const header = await proofHeader(messageOf());
    const callers = Array.from({ length: 30 }, (_, n) => (n % 2 === 0 ? signIn : other));
    const results = await Promise.allSettled(callers.map(each => each.requireWallet(header)));
    expect(results.filter(each => each.status === 'fulfilled')).toHaveLength(1);
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject(refused('NONCE_REUSED'));
    }
  });

  it('cannot take the nonce of another message of the same wallet', async () => {
    await signIn.requireWallet(await proofHeader(messageOf()));
    const again = await proofHeader(messageOf({ statement: 'Another text' }));
    await expect(signIn.requireWallet(again)).rejects.toMatchObject(refused('NONCE_REUSED'));
  });

  it('leaves the same nonce to other wallets', async () => {
    await signIn.requireWallet(await proofHeader(messageOf()));
    const message = messageOf({ address: stranger.address });
    const header = await proofHeader(message, { address: stranger.address }, stranger);
    expect(await signIn.requireWallet(header)).toMatchObject({ wallet: stranger.address.toLowerCase() });
  });

  it('uses no nonce up when it is refused', async () => {
    const forged = await proofHeader(messageOf(), {}, stranger);
    await expect(signIn.requireWallet(forged)).rejects.toMatchObject(refused('INVALID_SIGNATURE'));
    expect(await usedNonces()).toBe(0);
    expect(await signIn.requireWallet(await proofHeader(messageOf()))).toMatchObject({ wallet: WALLET });
  });

  it('is never accepted twice, from the first moment it is valid to the last', async () => {
    const header = await proofHeader(messageOf({ expirationTime: undefined }));
    nowMs = NOW_MS - 30_000;
    await signIn.requireWallet(header);
    for (nowMs = NOW_MS - 29_999; nowMs <= NOW_MS + 300_000; nowMs += 47_142) {
      await expect(signIn.requireWallet(header)).rejects.toMatchObject(refused('NONCE_REUSED'));
    }
    nowMs = NOW_MS + 300_000;
    await expect(signIn.requireWallet(header)).rejects.toMatchObject(refused('NONCE_REUSED'));
    nowMs += 1;
    await expect(signIn.requireWallet(header)).rejects.toMatchObject(refused('EXPIRED'));
  });

  it('may carry a nonce again once it is forgotten, deleted or not', async () => {
    await signIn.requireWallet(await proofHeader(messageOf()));
    nowMs = NOW_MS + MEMORY_MS + 1;
    const later = { timestamp: nowMs };
    const message = messageOf({ issuedAt: iso(MEMORY_MS + 1), expirationTime: undefined });
    const header = await proofHeader(message, later);
    expect(await signIn.requireWallet(header)).toMatchObject({ wallet: WALLET });
    await expect(signIn.requireWallet(header)).rejects.toMatchObject(refused('NONCE_REUSED'));
    expect(await usedNonces()).toBe(1);
  });

  it('cannot be checked without the database, which is not the fault of the proof', async () => {
    const unreachable = new Pool({ connectionString: 'postgres://127.0.0.1:1/none' });
    const offline = createSignIn({ db: unreachable, clock, signatures, domains });
    await expect(offline.requireWallet(await proofHeader(messageOf()))).rejects.toMatchObject({
      code: 'unavailable',
    });
    await unreachable.end();
  });
});

describe('a proof among processes whose clocks differ', () => {
  /** A proof that was issued so long before now. */
  function issuedAgo(ageMs: number): Promise<string> {
    const atMs = Date.now() - ageMs;
    const issuedAt = new Date(atMs).toISOString();
    return proofHeader(messageOf({ issuedAt, expirationTime: undefined }), { timestamp: atMs });
  }
  const processWith = (offsetMs: number) =>
    createSignIn({ db: otherDb, clock: { nowMs: () => Date.now() + offsetMs }, signatures, domains });

  it('is not forgotten by one that is ahead', async () => {
    const [right, ahead] = [processWith(0), processWith(3_600_000)];
    const header = await issuedAgo(0);
    await right.requireWallet(header);
    expect(await ahead.forgetExpiredNonces()).toBe(0);
    await expect(right.requireWallet(header)).rejects.toMatchObject(refused('NONCE_REUSED'));
  });

  it.each([60_000, 110_000])('is not good again in one that is %i ms behind', async behindMs => {
    const [behind, right] = [processWith(-behindMs), processWith(0)];
    // Too old for the one, young enough for the other; and used as soon as a client's clock may allow.
    const ageMs = 300_000 + behindMs / 2;
    const header = await issuedAgo(ageMs);
    const clockOfFirst = { nowMs: () => Date.now() - ageMs - 29_000 };
    await createSignIn({ db, clock: clockOfFirst, signatures, domains }).requireWallet(header);
    expect(await right.forgetExpiredNonces()).toBe(0);
    await expect(behind.requireWallet(header)).rejects.toMatchObject(refused('NONCE_REUSED'));
    await expect(right.requireWallet(header)).rejects.toMatchObject(refused('EXPIRED'));
  });

  it('is taken over by none that would accept it, however far they are apart', async () => {
    const header = await issuedAgo(0);
    await processWith(-30_000).requireWallet(header);
    for (const offsetMs of [0, 100_000, 270_000]) {
      const attempt = processWith(offsetMs).requireWallet(header);
      await expect(attempt).rejects.toMatchObject(refused('NONCE_REUSED'));
    }
    for (const offsetMs of [-86_400_000, 301_000, 86_400_000]) {
      await expect(processWith(offsetMs).requireWallet(header)).rejects.toMatchObject({
        code: 'proof_invalid',
      });
    }
  });
});

describe('used nonces', () => {
  /** So long ago that by now the database may have forgotten it. */
  const LONG_AGO_MS = Date.now() - KEPT_MS - 1_000;

  it('are deleted when nobody needs them, a bounded number at a time, the oldest first', async () => {
    for (let n = 0; n < 5; n += 1) {
      await consumeNonce(db, { wallet: WALLET, nonce: `nonce000${n}`, nowMs: LONG_AGO_MS - 10 + n });
    }
    const young = Date.now() - KEPT_MS + 60_000;
    await consumeNonce(db, { wallet: WALLET, nonce: 'young001', nowMs: young });
    expect(await deleteExpiredNonces(db, 3)).toBe(3);
    const left = await db.query<{ nonce: string }>('SELECT nonce FROM directory.proof_nonce ORDER BY nonce');
    expect(left.rows.map(row => row.nonce)).toEqual(['nonce0003', 'nonce0004', 'young001']);
    expect(await deleteExpiredNonces(db, 3)).toBe(2);
    expect(await deleteExpiredNonces(db, 3)).toBe(0);
    expect(await usedNonces()).toBe(1);
  });

  it('are deleted by several workers without waiting for each other', async () => {
    for (let n = 0; n < 40; n += 1) {
      await consumeNonce(db, { wallet: WALLET, nonce: `nonce00${n + 10}`, nowMs: LONG_AGO_MS });
    }
    const workers = [db, otherDb, db, otherDb].map(each => deleteExpiredNonces(each, 10));
    const deleted = (await Promise.all(workers)).reduce((sum, count) => sum + count, 0);
    expect(deleted).toBe(40 - (await usedNonces()));
    expect(deleted).toBeGreaterThanOrEqual(10);
  });
});

describe('sign-ins at once', () => {
  const proofs = (count: number) =>
    Array.from({ length: count }, (_, n) => ({ wallet: WALLET, nonce: `together${n}`, nowMs: NOW_MS }));

  it('share statements, and each proof is still good once', async () => {
    let statements = 0;
    const counting: Queryable = {
      query: statement => {
        statements += 1;
        return db.query(statement);
      },
    };
    const consume = shareStatements((all: readonly UsedProof[]) => consumeNonces(counting, all));
    const twice = [...proofs(50), ...proofs(50)];
    const fresh = await Promise.all(twice.map(consume));
    // Which of the two is written first is for the database to say.
    const wins = proofs(50).map((_, n) => [fresh[n], fresh[n + 50]].filter(Boolean).length);
    expect(new Set(wins)).toEqual(new Set([1]));
    // Two that had nobody to wait for, and those that took the rest.
    expect(statements).toBeLessThanOrEqual(4);
    expect(await usedNonces()).toBe(50);
  });

  it('of two processes meet in one order: no deadlock, one winner for each nonce', async () => {
    const list = proofs(300);
    const results = await Promise.all([
      consumeNonces(db, list),
      consumeNonces(otherDb, list.toReversed()),
      consumeNonces(
        db,
        list.toSorted(() => 0.5 - Math.random()),
      ),
    ]);
    const wins = results.flat().filter(Boolean);
    expect(wins).toHaveLength(300);
    expect(await usedNonces()).toBe(300);
  });

  it('all hear that the database is lost', async () => {
    const unreachable = new Pool({ connectionString: 'postgres://127.0.0.1:1/none' });
    const consume = shareStatements((all: readonly UsedProof[]) => consumeNonces(unreachable, all));
    const results = await Promise.allSettled(proofs(5).map(consume));
    expect(results.map(({ status }) => status)).toEqual(Array.from({ length: 5 }, () => 'rejected'));
    await unreachable.end();
  });
});

describe('the wallet routes', () => {
  let fixture: VeniceFixture;

  beforeEach(async () => {
    fixture = await veniceApp({ signIn, accounts: createAccounts(db, () => 'live') });
  });

  const get = (path: string, header: string) =>
    fixture.app.inject({ url: `/api/v1/x402/${path}`, headers: { 'x-sign-in-with-x': header } });

  it('answer a wallet never seen with zero and an empty statement', async () => {
    const newcomer = privateKeyToAccount(`0x${'33'.repeat(32)}`);
    const proof = (nonce: string) =>
      proofHeader(messageOf({ address: newcomer.address, nonce }), { address: newcomer.address }, newcomer);
    const balance = await get(`balance/${newcomer.address}`, await proof('aaaaaaaa1'));
    expect(balance.json()).toMatchObject({ success: true, data: { balanceUsd: 0, canConsume: false } });
    const transactions = await get(`transactions/${newcomer.address}`, await proof('aaaaaaaa2'));
    expect(transactions.json()).toMatchObject({
      data: { currentBalance: 0, transactions: [], pagination: { hasMore: false } },
    });
  });

  it('use a proof up even when they refuse the request', async () => {
    const header = await proofHeader(messageOf());
    expect((await get(`balance/${stranger.address}`, header)).statusCode).toBe(403);
    const again = await get(`balance/${account.address}`, header);
    expect(again.statusCode).toBe(401);
    expect(again.json()).toEqual({ error: 'Invalid Sign-in-with-x signature' });
  });

  it('cost a malformed call no proof', async () => {
    const header = await proofHeader(messageOf());
    expect((await get(`transactions/${account.address}?limit=0`, header)).statusCode).toBe(400);
    expect((await get(`transactions/${account.address}?limit=1`, header)).statusCode).toBe(200);
  });
});
