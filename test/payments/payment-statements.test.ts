import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_CELL, type Queryable } from '../../src/db/queryable.ts';
import { newId } from '../../src/lib/ids.ts';
import type { NewCredit } from '../../src/payments/payment-credit.ts';
import type { NewPayment } from '../../src/payments/payment-opening.ts';
import { createPaymentStatements } from '../../src/payments/payment-statements.ts';
import { registerNetworks } from '../../src/payments/payment-store.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { BASE, CREDIT_NANO_USD, identityOf, newCredit, newPayment } from '../support/new-payment.ts';

let database: TestDatabase;
let pool: Pool;
let otherPool: Pool;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = new Pool({ connectionString: database.databaseUrl, max: 8 });
  otherPool = new Pool({ connectionString: database.databaseUrl, max: 8 });
  await registerNetworks(pool, DEFAULT_CELL, [{ network: BASE, environment: 'live' }]);
});

afterAll(async () => {
  await pool.end();
  await otherPool.end();
  await database.drop();
});

/** Counts statements by name. */
function counting(db: Pool): { db: Queryable; counts: Record<string, number> } {
  const counts: Record<string, number> = {};
  return {
    counts,
    db: {
      query: statement => {
        counts[statement.name] = (counts[statement.name] ?? 0) + 1;
        return db.query(statement);
      },
    },
  };
}

let serial = 0;

/** A payment of a wallet, with the identity that its claim has. */
function newWalletPayment(wallet: number) {
  serial += 1;
  const payer = `0x${wallet.toString(16).padStart(40, '0')}`;
  const nonce = `0x${serial.toString(16).padStart(64, '0')}`;
  return { payer, nonce, identity: identityOf({ payer, nonce }), paymentId: newId() };
}

type WalletPayment = ReturnType<typeof newWalletPayment>;

const claimOf = ({ identity, paymentId, payer }: WalletPayment) => ({
  identity,
  paymentId,
  environment: 'live' as const,
  wallet: `evm:${payer}`,
});

const openingOf = (payment: WalletPayment, accountId: bigint): NewPayment =>
  newPayment({ ...payment, accountId });

const creditOf = (payment: WalletPayment, accountId: bigint): NewCredit =>
  newCredit({ ...payment, accountId });

async function postedOf(accountId: bigint): Promise<bigint> {
  const { rows } = await pool.query<{ posted: string }>(
    'SELECT posted FROM cell_0.account WHERE account_id = $1',
    [accountId],
  );
  return BigInt(rows[0]?.posted ?? 0);
}

describe('payments that come at the same moment', () => {
  it('share their statements, and each has its own outcome', async () => {
    const { db, counts } = counting(pool);
    const statements = createPaymentStatements(db);
    const payments = Array.from({ length: 40 }, (_, n) => newWalletPayment(100 + (n % 10)));
    expect(await Promise.all(payments.map(({ identity }) => statements.findClaim(identity)))).toEqual(
      payments.map(() => undefined),
    );
    const claims = await Promise.all(payments.map(payment => statements.claimForWallet(claimOf(payment))));
    expect(claims.map(({ claimed, paymentId }) => [claimed, paymentId])).toEqual(
      payments.map(({ paymentId }) => [true, paymentId]),
    );
    // A wallet has one account, however many of its payments came.
    const accounts = claims.map(({ owner }) => owner);
    expect(new Set(accounts).size).toBe(10);
    expect(accounts.slice(0, 10)).toEqual(accounts.slice(10, 20));
    const open = (payment: WalletPayment, index: number) =>
      statements.open(DEFAULT_CELL, openingOf(payment, accounts[index] as bigint));
    expect(new Set(await Promise.all(payments.map(open)))).toEqual(new Set(['opened']));
    const credit = (payment: WalletPayment, index: number) =>
      statements.credit(DEFAULT_CELL, creditOf(payment, accounts[index] as bigint));
    const credits = await Promise.all(payments.map(credit));
    expect(credits.map(({ transaction, first }) => [transaction, first])).toEqual(
      payments.map(({ nonce }) => [nonce, true]),
    );
    for (const account of accounts) expect(await postedOf(account)).toBe(4n * CREDIT_NANO_USD);
    for (const count of Object.values(counts)) expect(count).toBe(1);
    expect(Object.keys(counts)).toHaveLength(4);
  });

  it('are each taken once when many present the same ones, in two processes', async () => {
    const replicas = [pool, otherPool, pool, otherPool].map(createPaymentStatements);
    const payments = Array.from({ length: 60 }, (_, n) => newWalletPayment(200 + (n % 7)));
    const outcomes = await Promise.all(
      replicas.map((statements, replica) => {
        const order = replica % 2 === 0 ? payments : payments.toReversed();
        return Promise.all(
          order.map(async payment => {
            const claim = await statements.claimForWallet({ ...claimOf(payment), paymentId: newId() });
            const same = { ...payment, paymentId: claim.paymentId };
            const opening = await statements.open(DEFAULT_CELL, openingOf(same, claim.owner));
            const credit = await statements.credit(DEFAULT_CELL, creditOf(same, claim.owner));
            return { identity: payment.identity, owner: claim.owner, claim, opening, credit };
          }),
        );
      }),
    );
    const all = outcomes.flat();
    expect(all.filter(({ claim }) => claim.claimed)).toHaveLength(payments.length);
    expect(all.filter(({ opening }) => opening === 'opened')).toHaveLength(payments.length);
    expect(all.filter(({ credit }) => credit.first)).toHaveLength(payments.length);
    const owners = new Set(all.map(({ owner }) => owner));
    const posted = await Promise.all([...owners].map(postedOf));
    expect(posted.reduce((sum, each) => sum + each, 0n)).toBe(BigInt(payments.length) * CREDIT_NANO_USD);
  });

  it('suffer nothing from one that the database refuses', async () => {
    const statements = createPaymentStatements(pool);
    const payments = Array.from({ length: 6 }, () => newWalletPayment(300));
    const { owner } = await statements.claimForWallet(claimOf(payments[0] as WalletPayment));
    const openings = payments.map(payment => openingOf(payment, owner));
    const [wrong, unknown] = [openings[2], openings[4]] as [NewPayment, NewPayment];
    // An account of another environment, and a network that nobody registered.
    wrong.environment = 'test';
    unknown.signed = { ...unknown.signed, network: 'eip155:1' };
    const opened = await Promise.allSettled(openings.map(each => statements.open(DEFAULT_CELL, each)));
    expect(opened.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
    const credits = await Promise.allSettled(
      payments.map(payment => statements.credit(DEFAULT_CELL, creditOf(payment, owner))),
    );
    expect(credits.map(({ status }) => status)).toEqual(opened.map(({ status }) => status));
    expect(await postedOf(owner)).toBe(4n * CREDIT_NANO_USD);
  });

  it('of one account do not hold up the others while it is locked', async () => {
    const statements = createPaymentStatements(pool);
    const [locked, free] = [newWalletPayment(400), newWalletPayment(401)];
    const accounts = await Promise.all(
      [locked, free].map(async payment => {
        const { owner } = await statements.claimForWallet(claimOf(payment));
        await statements.open(DEFAULT_CELL, openingOf(payment, owner));
        return owner;
      }),
    );
    const [lockedAccount, freeAccount] = accounts as [bigint, bigint];
    const holder = await otherPool.connect();
    try {
      await holder.query('BEGIN');
      await holder.query('SELECT FROM cell_0.account WHERE account_id = $1 FOR UPDATE', [lockedAccount]);
      let isDone = false;
      const waiting = statements.credit(DEFAULT_CELL, creditOf(locked, lockedAccount)).finally(() => {
        isDone = true;
      });
      await expect
        .poll(async () => {
          const { rows } = await otherPool.query(
            "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
          );
          return rows.length;
        })
        .toBe(1);
      expect((await statements.credit(DEFAULT_CELL, creditOf(free, freeAccount))).first).toBe(true);
      expect(isDone).toBe(false);
      await holder.query('COMMIT');
      expect((await waiting).first).toBe(true);
    } finally {
      holder.release();
    }
  });

  it('that share a statement with one whose account is locked are credited without it', async () => {
    const statements = createPaymentStatements(pool);
    const payments = Array.from({ length: 6 }, (_, n) => newWalletPayment(500 + n));
    const accounts = await Promise.all(
      payments.map(async payment => {
        const { owner } = await statements.claimForWallet(claimOf(payment));
        await statements.open(DEFAULT_CELL, openingOf(payment, owner));
        return owner;
      }),
    );
    const holder = await otherPool.connect();
    try {
      await holder.query('BEGIN');
      await holder.query('SELECT FROM cell_0.account WHERE account_id = $1 FOR UPDATE', [accounts[2]]);
      const credits = payments.map((payment, n) =>
        statements.credit(DEFAULT_CELL, creditOf(payment, accounts[n] as bigint)),
      );
      const free = credits.filter((_, n) => n !== 2);
      expect((await Promise.all(free)).every(({ first }) => first)).toBe(true);
      await holder.query('COMMIT');
      expect((await credits[2])?.first).toBe(true);
    } finally {
      holder.release();
    }
  });

  it('of one account are credited by several processes in any order without a deadlock', async () => {
    const replicas = [pool, otherPool, pool].map(createPaymentStatements);
    const [first] = replicas as [ReturnType<typeof createPaymentStatements>];
    const payments = Array.from({ length: 100 }, () => newWalletPayment(600));
    const { owner } = await first.claimForWallet(claimOf(payments[0] as WalletPayment));
    await Promise.all(payments.map(payment => first.open(DEFAULT_CELL, openingOf(payment, owner))));
    const before = await deadlocks();
    const credits = await Promise.all(
      replicas.flatMap((statements, n) =>
        (n === 1 ? payments.toReversed() : payments).map(payment =>
          statements.credit(DEFAULT_CELL, creditOf(payment, owner)),
        ),
      ),
    );
    expect(credits.filter(credit => credit.first)).toHaveLength(payments.length);
    expect(await postedOf(owner)).toBe(BigInt(payments.length) * CREDIT_NANO_USD);
    expect(await deadlocks()).toBe(before);
  });
});

async function deadlocks(): Promise<number> {
  const { rows } = await pool.query<{ deadlocks: string }>(
    `SELECT deadlocks FROM (SELECT pg_stat_clear_snapshot()) c, pg_stat_database
     WHERE datname = current_database()`,
  );
  return Number(rows[0]?.deadlocks);
}
