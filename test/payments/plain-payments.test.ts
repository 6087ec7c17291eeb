import { Pool, type PoolClient } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DEFAULT_CELL, type Queryable } from '../../src/db/queryable.ts';
import { newId } from '../../src/lib/ids.ts';
import { claimWalletPayments } from '../../src/payments/payment-claim.ts';
import { creditPayments, type NewCredit } from '../../src/payments/payment-credit.ts';
import { type NewPayment, openPayments } from '../../src/payments/payment-opening.ts';
import { registerNetworks } from '../../src/payments/payment-store.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { BASE, newCredit, newPayment } from '../support/new-payment.ts';

/*
 * What is plain is done together for all payments of a call, and everything else in a call for each. Here each case
 * is done both ways from the same rows, and must leave the same rows and give the same answers.
 */

const FIRST_ACCOUNT = 9_000_000n;

let database: TestDatabase;
let pool: Pool;
let serial = 0;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = new Pool({ connectionString: database.databaseUrl, max: 2 });
  await registerNetworks(pool, DEFAULT_CELL, [{ network: BASE, environment: 'live' }]);
});

afterAll(async () => {
  await pool.end();
  await database.drop();
});

type Made = NewPayment & { nonce: string };

function makePayment(accountId?: bigint): Made {
  serial += 1;
  const hex = serial.toString(16);
  const account = accountId ?? FIRST_ACCOUNT + BigInt(serial);
  const [payer, nonce] = [`0x${hex.padStart(40, '0')}`, `0x${hex.padStart(64, '0')}`];
  return { ...newPayment({ paymentId: newId(), accountId: account, payer, nonce }), nonce };
}

const creditOf = (payment: Made, changes: Partial<NewCredit> = {}): NewCredit => ({
  ...newCredit({ ...payment, payer: payment.signed.payer }),
  ...changes,
});

const open = (payments: readonly NewPayment[]) => openPayments(pool, DEFAULT_CELL, payments);

/** Everything that a credit writes, less what differs from one moment to the next. */
async function rowsOf(client: PoolClient, known: readonly string[]): Promise<unknown> {
  const read = async (text: string) => (await client.query<Record<string, unknown>>(text)).rows;
  const rows = {
    accounts: await read('SELECT * FROM cell_0.account ORDER BY account_id'),
    payments: await read(
      `SELECT p.*, p.updated_at = now() AS is_touched,
         CASE WHEN p.updated_at = now() THEN p.due_at - now() END AS due_in
       FROM cell_0.payment p ORDER BY payment_id`,
    ),
    grants: await read(
      'SELECT * FROM cell_0.credit_grant ORDER BY account_id, priority, amount, contra, remaining',
    ),
    transfers: await read('SELECT * FROM cell_0.transfer ORDER BY account_id, seq'),
    events: await read(
      'SELECT account_id, environment, type, payload FROM cell_0.outbox ORDER BY payload::text',
    ),
  };
  const passing = new Set(['due_at', 'updated_at', 'created_at']);
  const ids = new Set(['id', 'grant_id']);
  return JSON.parse(
    JSON.stringify(rows, (key, value: unknown) => {
      if (passing.has(key)) return undefined;
      return ids.has(key) && typeof value === 'string' && !known.includes(value) ? 'made here' : value;
    }),
  ) as unknown;
}

/** Runs it in a transaction that is undone. @returns what it gave and the rows that it left */
async function tryOut<T>(known: readonly string[], run: (db: Queryable) => Promise<T>) {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const given = await run(client);
    return { given, rows: await rowsOf(client, known) };
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
}

/** The credit of each by the function for a single payment, in the order in which a call takes them. */
async function creditOneByOne(db: Queryable, credits: readonly NewCredit[]) {
  const given = new Map<NewCredit, unknown>();
  const isBefore = (a: NewCredit, b: NewCredit) =>
    a.accountId === b.accountId ? a.paymentId < b.paymentId : a.accountId < b.accountId;
  for (const credit of credits.toSorted((a, b) => (isBefore(a, b) ? -1 : 1))) {
    const { rows } = await db.query<Record<string, unknown>>({
      name: 'test.credit_payment',
      text: 'SELECT * FROM cell_0.credit_payment($1, $2, $3, $4, $5, $6, $7, $8, $9)',
      values: [
        credit.paymentId,
        credit.amountNanoUsd,
        credit.contra,
        credit.transfer.transaction,
        credit.transfer.logIndex,
        credit.transfer.blockNumber,
        credit.transfer.blockHash,
        credit.firstCheckMs,
        credit.now,
      ],
    });
    const row = rows[0] ?? {};
    given.set(credit, {
      first: row['first'],
      again: row['again'],
      creditedNanoUsd: BigInt(row['credited'] as string),
      availableNanoUsd: BigInt(row['available'] as string),
      transaction: row['transaction'],
      purposeResult: row['purpose_result'] ?? undefined,
    });
  }
  return credits.map(credit => given.get(credit));
}

/** How many of them are plain. */
async function plainOf(credits: readonly NewCredit[]): Promise<number> {
  const { given } = await tryOut([], db =>
    db.query<{ count: number }>({
      name: 'test.credit_plain_payments',
      text: `SELECT count(*)::int AS count
             FROM cell_0.credit_plain_payments($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
      values: [
        credits.map(({ paymentId }) => paymentId),
        credits.map(({ accountId }) => accountId),
        credits.map(({ amountNanoUsd }) => amountNanoUsd),
        credits.map(({ contra }) => contra),
        credits.map(({ transfer }) => transfer.transaction),
        credits.map(({ transfer }) => transfer.logIndex),
        credits.map(({ transfer }) => transfer.blockNumber),
        credits.map(({ transfer }) => transfer.blockHash),
        credits.map(({ firstCheckMs }) => firstCheckMs),
      ],
    }),
  );
  return given.rows[0]?.count ?? 0;
}

const sql = (text: string, ...values: unknown[]) => pool.query(text, values);

/** Credit of another kind, in an account that has a payment. */
const grant = ({ accountId }: Made, expires: string) =>
  sql(
    `SELECT cell_0.add_grant($1, $2, 1000, 'promotional', 1::smallint, 10::smallint, $3::timestamptz)`,
    accountId,
    newId(),
    expires,
  );

/** Spends ($kind 1) or holds (2) from an account. */
const use = ({ accountId }: Made, kind: number, amount: number) =>
  sql(
    'SELECT cell_0.apply(ARRAY[$1]::smallint[], ARRAY[$2]::bigint[], ARRAY[$3]::uuid[], ARRAY[$4]::bigint[], ARRAY[$5]::int[])',
    kind,
    accountId,
    newId(),
    amount,
    kind === 2 ? 60_000 : 0,
  );

const credited = (payment: Made) => creditPayments(pool, DEFAULT_CELL, [creditOf(payment)]);

it('a credit leaves the same rows and gives the same answer whether it is plain or not', async () => {
  const cases: Record<string, (payment: Made) => Promise<unknown>> = {
    settling: () => Promise.resolve(),
    pending: ({ paymentId }) =>
      sql(
        `UPDATE cell_0.payment SET state = 'pending', reason = 'unproven' WHERE payment_id = $1`,
        paymentId,
      ),
    failed: ({ paymentId }) =>
      sql(`UPDATE cell_0.payment SET state = 'failed', reason = 'reverted' WHERE payment_id = $1`, paymentId),
    credited,
    async reversed(payment) {
      await credited(payment);
      await sql(
        `SELECT cell_0.reverse_payment($1, $2, '0xblock', 'undone')`,
        payment.paymentId,
        payment.nonce,
      );
    },
    async 'reversed after it was spent'(payment) {
      await credited(payment);
      await use(payment, 1, 2_000_000_000);
      await sql(
        `SELECT cell_0.reverse_payment($1, $2, '0xblock', 'undone')`,
        payment.paymentId,
        payment.nonce,
      );
    },
    'with credit that ends': payment => grant(payment, '2999-01-01'),
    'with credit that ended': async payment => {
      await grant(payment, '2999-01-01');
      await sql(
        `UPDATE cell_0.credit_grant SET ends_at = now() - interval '1 hour' WHERE account_id = $1`,
        payment.accountId,
      );
      await sql(
        `UPDATE cell_0.account SET next_due = now() - interval '1 hour' WHERE account_id = $1`,
        payment.accountId,
      );
    },
    async 'with credit that was spent'(payment) {
      await grant(payment, 'infinity');
      await use(payment, 1, 400);
    },
    async 'with credit that is held'(payment) {
      await grant(payment, 'infinity');
      await use(payment, 2, 400);
    },
    'on a frozen account': ({ accountId }) =>
      sql('UPDATE cell_0.account SET frozen = true, credit_line = 70 WHERE account_id = $1', accountId),
  };
  const payments: Made[] = [];
  for (const prepare of Object.values(cases)) {
    const payment = makePayment();
    await open([payment]);
    await prepare(payment);
    payments.push(payment);
  }
  // Two of one account, and another plain one.
  const twin = makePayment();
  const more = [twin, makePayment(twin.accountId), makePayment()];
  await open(more);
  payments.push(...more);
  const known = payments.map(({ paymentId }) => paymentId);
  const credits = payments.map(payment => creditOf(payment)).toReversed();
  expect(await plainOf(credits)).toEqual(5);
  const together = await tryOut(known, db => creditPayments(db, DEFAULT_CELL, credits));
  expect(together).toEqual(await tryOut(known, db => creditOneByOne(db, credits)));
  expect(together.given.filter(({ first }) => first)).toHaveLength(payments.length - 1);
});

it.each<[string, (payment: Made) => Promise<Partial<NewCredit>> | Partial<NewCredit>]>([
  ['that would exceed what an account can hold', () => ({ amountNanoUsd: 2n ** 62n })],
  ['of nothing', () => ({ amountNanoUsd: 0n })],
  ['of the other environment’s money', () => ({ contra: 200 })],
  ['of a payment that is not there', () => ({ paymentId: newId() })],
  [
    'under a name that a hold has',
    async ({ accountId, paymentId }) => {
      await sql(
        `INSERT INTO cell_0.hold (account_id, id, amount, expires_at, lifetime_ms) VALUES ($1, $2, 1, 'infinity', 1)`,
        accountId,
        paymentId,
      );
      return {};
    },
  ],
  [
    'of a transfer that paid for another payment',
    async () => {
      const other = makePayment();
      await open([other]);
      await credited(other);
      return { transfer: creditOf(other).transfer };
    },
  ],
])(
  'a credit %s is refused, alone and together with a good one, and nothing is left of either',
  async (_, change) => {
    const [bad, good] = [makePayment(), makePayment()];
    await open([bad, good]);
    const wrong = creditOf(bad, await change(bad));
    await expect(creditPayments(pool, DEFAULT_CELL, [wrong])).rejects.toThrow();
    await expect(creditPayments(pool, DEFAULT_CELL, [creditOf(good), wrong])).rejects.toThrow();
    const { rows } = await sql(
      `SELECT state, posted FROM cell_0.payment p JOIN cell_0.account a USING (account_id) WHERE payment_id = ANY ($1)`,
      [bad.paymentId, good.paymentId],
    );
    expect(rows).toEqual(Array.from({ length: 2 }, () => ({ state: 'settling', posted: '0' })));
  },
);

it('new payments are stored the same way whether they are plain or not', async () => {
  const [known, reverted] = [makePayment(), makePayment()];
  await open([known, reverted]);
  await sql(
    `UPDATE cell_0.payment SET state = 'failed', reason = 'reverted', updated_at = now() WHERE payment_id = $1`,
    reverted.paymentId,
  );
  const budget = { maxReverted: 1, windowMs: 3_600_000 };
  const overBudget = { ...makePayment(reverted.accountId), budget };
  overBudget.signed = { ...overBudget.signed, payer: reverted.signed.payer };
  const ofKnown = { ...makePayment(known.accountId), budget };
  const bought = {
    ...makePayment(known.accountId),
    purpose: { kind: 'refused', terms: 'nothing', reason: 'too late' },
  };
  const given = await open([overBudget, makePayment(), ofKnown, known, bought, { ...ofKnown }]);
  expect(given).toEqual(['over_budget', 'opened', 'opened', 'exists', 'opened', 'exists']);
  const { rows } = await sql(
    `SELECT identity, account_id, state, purpose FROM cell_0.payment WHERE payment_id = ANY ($1) ORDER BY identity`,
    [ofKnown.paymentId, bought.paymentId],
  );
  expect(rows).toEqual([
    {
      identity: ofKnown.signed.identity,
      account_id: String(known.accountId),
      state: 'settling',
      purpose: null,
    },
    {
      identity: bought.signed.identity,
      account_id: String(known.accountId),
      state: 'settling',
      purpose: bought.purpose,
    },
  ]);
  // Of several requests that store one payment at once one is told so, the one whose terms are stored.
  const raced = makePayment(known.accountId);
  const offers = Array.from({ length: 30 }, (_, n) => ({ ...raced, facilitator: `facilitator ${n}` }));
  const told = await open(offers.flatMap(offer => [makePayment(reverted.accountId), offer]));
  const { rows: stored } = await sql(
    'SELECT facilitator FROM cell_0.payment WHERE payment_id = $1',
    raced.paymentId,
  );
  expect(
    offers.filter((_, n) => told[2 * n + 1] === 'opened').map(({ facilitator }) => ({ facilitator })),
  ).toEqual(stored);
  // Stored under another id already.
  const stolen = { ...makePayment(known.accountId), signed: known.signed };
  await expect(open([makePayment(known.accountId), stolen])).rejects.toThrow('under another id');
});

it('claims of known and of new wallets are each made once', async () => {
  const claimOf = (wallet: string) => ({
    identity: `test:${wallet}:${newId()}`,
    paymentId: newId(),
    environment: 'live' as const,
    wallet: `evm:0x${wallet.padStart(40, '0')}`,
  });
  const [first] = await claimWalletPayments(pool, [claimOf('a1')]);
  const taken = claimOf('a1');
  const [before] = await claimWalletPayments(pool, [taken]);
  expect([before?.claimed, before?.owner]).toEqual([true, first?.owner]);
  const again = { ...taken, paymentId: newId() };
  const stranger = { ...again, wallet: claimOf('b2').wallet };
  const fresh = claimOf('a1');
  const claims = [stranger, claimOf('c3'), again, fresh, claimOf('c3'), { ...fresh, paymentId: newId() }];
  const made = await claimWalletPayments(pool, claims);
  expect(made.map(({ claimed }) => claimed)).toEqual([false, true, false, true, true, false]);
  expect(made.map(({ paymentId }, n) => paymentId === claims[n]?.paymentId)).toEqual([
    false,
    true,
    false,
    true,
    true,
    false,
  ]);
  const [byStranger, newcomer, byOwner, known, newcomerAgain, repeated] = made;
  for (const each of [byStranger, byOwner]) {
    expect(each).toMatchObject({ paymentId: taken.paymentId, accountId: first?.owner });
  }
  expect(byStranger?.owner).not.toBe(first?.owner);
  expect(newcomer?.owner).toBe(newcomerAgain?.owner);
  expect([known?.owner, known?.accountId, known?.cell]).toEqual([first?.owner, first?.owner, DEFAULT_CELL]);
  expect(repeated?.paymentId).toBe(fresh.paymentId);
});
