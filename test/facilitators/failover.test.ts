import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Seams } from '../../src/services/seams.ts';
import { usdcTransfersTo } from '../support/chain.ts';
import { startFacilitator, type TestFacilitator } from '../support/facilitator.ts';
import type { FacilitatorFault } from '../support/facilitator-faults.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, type SignedPayment, signPayment } from '../support/payment.ts';
import { presentPayment } from '../support/solana-gateway.ts';

/** Less than the slow answer takes, and ample for the others. */
const seams: Seams = { settleWaitMs: 5_000, reconcileEveryMs: 100, facilitatorAskTimeoutMs: 2_500 };

let first: TestFacilitator;
let second: TestFacilitator;
/** Both facilitators, in this order. */
let remote: TestGateway;
/** The first of them, then the embedded one. */
let mixed: TestGateway;

beforeAll(async () => {
  [first, second] = await Promise.all([startFacilitator(), startFacilitator()]);
  remote = await startGateway({
    seams,
    settings: { FACILITATORS: `${first.url},${second.url}`, EVM_PRIVATE_KEY: '' },
  });
  mixed = await startGateway({ seams, settings: { FACILITATORS: `${first.url},embedded` } });
});

afterAll(async () => {
  await remote.stop();
  await mixed.stop();
  await Promise.all([first.stop(), second.stop()]);
});

async function newPayment(on: TestGateway, fault: FacilitatorFault): Promise<SignedPayment> {
  const payment = await signPayment(await createPayer(100n), on.payTo, 5_000_000n);
  await first.plan(payment.authorization.nonce, fault);
  return payment;
}

/** What became of a payment: how often its money moved, was credited and was sent by us. */
async function outcomeOf(on: TestGateway, { authorization }: SignedPayment) {
  const { rows } = await on.sql.query(
    `SELECT state, facilitator,
       (SELECT count(*)::int FROM cell_0.transfer t WHERE t.account_id = p.account_id) AS credits,
       (SELECT count(*)::int FROM directory.evm_transaction t WHERE t.payment_id = p.payment_id) AS sent
     FROM cell_0.payment p WHERE payer = $1`,
    [authorization.from.toLowerCase()],
  );
  const transfers = await usdcTransfersTo(on.payTo);
  const moved = transfers.filter(({ from }) => from === authorization.from.toLowerCase()).length;
  return { ...rows[0], moved };
}

async function settlesAsked(payment: SignedPayment): Promise<number> {
  return (await first.counts()).settles[payment.authorization.nonce.toLowerCase()] ?? 0;
}

describe('a facilitator that can not tell whether a payment is good', () => {
  it.each<FacilitatorFault>(['verify-error', 'verify-slow', 'verify-unknown-code'])(
    'is passed over for the next one, which settles: %s',
    async fault => {
      const { verify: before } = await first.counts();
      const payment = await newPayment(remote, fault);
      const answer = await presentPayment(remote, paymentHeader(payment));
      expect(answer.statusCode, answer.body).toBe(200);
      expect((await first.counts()).verify).toBe(before + 1);
      expect(await settlesAsked(payment)).toBe(0);
      expect(await outcomeOf(remote, payment)).toEqual({
        state: 'credited',
        facilitator: second.url,
        credits: 1,
        sent: 0,
        moved: 1,
      });
    },
  );
});

describe('a status that says that nothing was done', () => {
  it.each<FacilitatorFault>(['settle-401', 'settle-403', 'settle-429'])(
    'lets the next facilitator settle, once: %s',
    async fault => {
      const payment = await newPayment(mixed, fault);
      const answer = await presentPayment(mixed, paymentHeader(payment));
      expect(answer.statusCode, answer.body).toBe(200);
      expect(await settlesAsked(payment)).toBe(1);
      expect(await outcomeOf(mixed, payment)).toEqual({
        state: 'credited',
        facilitator: 'embedded',
        credits: 1,
        sent: 1,
        moved: 1,
      });
    },
  );

  it.each<FacilitatorFault>(['sent-401', 'sent-403', 'sent-429'])(
    'is not believed of an answer that names a transaction, and nobody else is asked: %s',
    async fault => {
      const payment = await newPayment(mixed, fault);
      await presentPayment(mixed, paymentHeader(payment));
      await expect
        .poll(() => outcomeOf(mixed, payment), { timeout: 15_000 })
        .toEqual({ state: 'credited', facilitator: first.url, credits: 1, sent: 0, moved: 1 });
    },
  );
});
