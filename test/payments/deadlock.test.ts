import { Pool } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_CELL } from '../../src/db/queryable.ts';
import { newId } from '../../src/lib/ids.ts';
import { type NewPayment, openPayments } from '../../src/payments/payment-opening.ts';
import { usdcTransfersTo } from '../support/chain.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { newPayment } from '../support/new-payment.ts';
import { createPayer, paymentHeader, type SignedPayment, signPayment } from '../support/payment.ts';
import { presentPayment } from '../support/solana-gateway.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startGateway({ seams: { settleWaitMs: 5_000, reconcileEveryMs: 100 } });
  // A sequence is not rolled back, so it counts what was.
  await gateway.sql.query(`
    CREATE SEQUENCE cell_0.deadlock_count;
    CREATE FUNCTION cell_0.deadlock() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF nextval('cell_0.deadlock_count') <= TG_ARGV[0]::bigint THEN
        RAISE EXCEPTION 'the database says no' USING ERRCODE = TG_ARGV[1];
      END IF;
      RETURN NEW;
    END $$`);
});

afterAll(async () => {
  await gateway.stop();
});

const POINTS = {
  claim: 'BEFORE INSERT ON directory.payment_claim FOR EACH ROW',
  store: 'BEFORE INSERT ON cell_0.payment FOR EACH ROW',
  sign: 'BEFORE INSERT ON directory.evm_transaction FOR EACH ROW',
  credit: "BEFORE UPDATE ON cell_0.payment FOR EACH ROW WHEN (NEW.state = 'credited')",
} as const;

const TABLES = {
  claim: 'directory.payment_claim',
  store: 'cell_0.payment',
  sign: 'directory.evm_transaction',
  credit: 'cell_0.payment',
} as const;

let laid: keyof typeof POINTS | undefined;

/** The next so many transactions that come to the point end as PostgreSQL ends a deadlock, or what else it gives up. */
async function lay(point: keyof typeof POINTS, times: number, end = 'deadlock_detected'): Promise<void> {
  laid = point;
  await gateway.sql.query(`ALTER SEQUENCE cell_0.deadlock_count RESTART;
    CREATE TRIGGER deadlock ${POINTS[point]} EXECUTE FUNCTION cell_0.deadlock('${times}', '${end}')`);
}

async function lift(): Promise<void> {
  if (laid) await gateway.sql.query(`DROP TRIGGER deadlock ON ${TABLES[laid]}`);
  laid = undefined;
}

afterEach(lift);

const newSigned = async () => signPayment(await createPayer(100n), gateway.payTo, 5_000_000n);
const present = (payment: SignedPayment) => presentPayment(gateway, paymentHeader(payment));

async function arrivals({ authorization }: SignedPayment): Promise<number> {
  const transfers = await usdcTransfersTo(gateway.payTo);
  return transfers.filter(({ from }) => from === authorization.from.toLowerCase()).length;
}

async function storedOf({ authorization }: SignedPayment) {
  const { rows } = await gateway.sql.query<{ state: string; credits: number }>(
    `SELECT state, (SELECT count(*)::int FROM cell_0.transfer t WHERE t.account_id = p.account_id) AS credits
     FROM cell_0.payment p WHERE payer = $1`,
    [authorization.from.toLowerCase()],
  );
  return rows[0];
}

/** Somebody works on them for a while yet, as far as the reconciler knows. */
const makeDue = () => gateway.sql.query('UPDATE cell_0.payment SET due_at = now()');

describe('a deadlock of the database, or what else it gives up,', () => {
  it.each(['claim', 'store', 'sign', 'credit'] as const)(
    'that is over when it is tried again is not noticed: %s',
    async point => {
      const payment = await newSigned();
      await lay(point, 3);
      const answer = await present(payment);
      expect(answer.statusCode, answer.body).toBe(200);
      expect(await storedOf(payment)).toEqual({ state: 'credited', credits: 1 });
      expect(await arrivals(payment)).toBe(1);
    },
  );

  it.each([
    ['claim', 'deadlock_detected'],
    ['store', 'deadlock_detected'],
    // These, too, have stored nothing, for certain.
    ['store', 'query_canceled'],
    ['store', 'lock_not_available'],
  ] as const)(
    'that stays is an outage, with nothing sent, and the same payment is taken later: %s, %s',
    async (point, end) => {
      const payment = await newSigned();
      await lay(point, 1_000, end);
      const answer = await present(payment);
      expect([answer.statusCode, answer.headers['retry-after']]).toEqual([503, expect.any(String)]);
      expect([await storedOf(payment), await arrivals(payment)]).toEqual([undefined, 0]);
      await lift();
      expect((await present(payment)).statusCode).toBe(200);
      expect(await arrivals(payment)).toBe(1);
    },
  );

  it('that stays when the money has moved is no refusal: the payment is credited once it is over', async () => {
    const payment = await newSigned();
    await lay('credit', 1_000);
    expect((await present(payment)).statusCode).toBe(504);
    expect(await arrivals(payment)).toBe(1);
    expect((await present(payment)).statusCode).toBe(409);
    await lift();
    await makeDue();
    await expect
      .poll(() => storedOf(payment), { timeout: 15_000 })
      .toEqual({ state: 'credited', credits: 1 });
    expect((await present(payment)).statusCode).toBe(200);
  });
});

describe('a payment that several requests store at the same moment', () => {
  it('is stored once, and nobody fails', async () => {
    const pool = new Pool({ connectionString: gateway.config.databaseUrl, max: RACERS });
    try {
      const failures: unknown[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        const payment = raced(round);
        const racing = Array.from({ length: RACERS }, () => openPayments(pool, DEFAULT_CELL, [payment]));
        const results = await Promise.allSettled(racing);
        failures.push(...results.flatMap(result => (result.status === 'rejected' ? [result.reason] : [])));
        const stored = results.filter(
          result => result.status === 'fulfilled' && result.value[0] === 'opened',
        );
        expect(stored).toHaveLength(1);
      }
      expect(failures).toEqual([]);
    } finally {
      await pool.end();
    }
  });
});

const RACERS = 8;
/** With the primary key alone named in the statement, some of so many rounds fail. */
const ROUNDS = 300;

function raced(round: number): NewPayment {
  const nonce = `0x${round.toString(16).padStart(64, '0')}`;
  return newPayment({ paymentId: newId(), accountId: 1_000_000n, payer: `0x${'1'.repeat(40)}`, nonce });
}
