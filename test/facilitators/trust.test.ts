import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { judge } from '../../src/topups/reconciliation.ts';
import { usdcTransfersTo } from '../support/chain.ts';
import { startFacilitator, type TestFacilitator } from '../support/facilitator.ts';
import type { FacilitatorFault } from '../support/facilitator-faults.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, type SignedPayment, signPayment } from '../support/payment.ts';

const seams = { settleWaitMs: 500, settleTimeoutMs: 5_000, reconcileEveryMs: 100 };

let facilitator: TestFacilitator;
/** Has no node at all. */
let blind: TestGateway;
/** Has the setting and a node. */
let seeing: TestGateway;

beforeAll(async () => {
  facilitator = await startFacilitator();
  const settings = { FACILITATORS: facilitator.url, EVM_PRIVATE_KEY: '', TRUST_FACILITATOR: 'on' };
  blind = await startGateway({ seams, settings: { ...settings, BASE_RPC_URL: '' } });
  seeing = await startGateway({ seams, settings });
});

afterAll(async () => {
  await blind.stop();
  await seeing.stop();
  await facilitator.stop();
});

async function pay(on: TestGateway, fault: FacilitatorFault) {
  const payment = await signPayment(await createPayer(100n), on.payTo, 5_000_000n);
  await facilitator.plan(payment.authorization.nonce, fault);
  return { payment, answer: await present(on, payment) };
}

function present(on: TestGateway, payment: SignedPayment) {
  return on.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
}

async function arrivals(on: TestGateway, { authorization }: SignedPayment): Promise<number> {
  const transfers = await usdcTransfersTo(on.payTo);
  return transfers.filter(({ from }) => from === authorization.from.toLowerCase()).length;
}

describe('TRUST_FACILITATOR without an RPC URL', () => {
  it('credits what the facilitator says, once', async () => {
    const { payment, answer } = await pay(blind, 'honest');
    expect([answer.statusCode, answer.json().data?.newBalance]).toEqual([200, 5]);
    expect(await arrivals(blind, payment)).toBe(1);
    expect((await present(blind, payment)).json()).toEqual(answer.json());
    const { rows } = await blind.sql.query('SELECT count(*)::int AS n FROM cell_0.transfer');
    expect(rows[0].n).toBe(1);
  });

  it('credits also what is not true, which is what it means', async () => {
    const { payment, answer } = await pay(blind, 'says-success-sent-nothing');
    expect([answer.statusCode, await arrivals(blind, payment)]).toEqual([200, 0]);
  });

  it.each<FacilitatorFault>(['says-failure-but-sent', 'unknown-code', 'refuses'])(
    'leaves open what the facilitator does not call a success: %s',
    async fault => {
      const { payment, answer } = await pay(blind, fault);
      expect(answer.statusCode).toBe(504);
      expect((await present(blind, payment)).statusCode).toBe(409);
    },
  );

  it('says so at start and in /readyz, and its books are compared with nothing', async () => {
    const ready = await blind.app.inject('/readyz');
    expect(ready.statusCode, ready.body).toBe(200);
    expect(ready.body).toContain('on Base money is credited on the word of the facilitators');
    const report = await blind.services.reconcile({ dryRun: true });
    expect(judge(report)).toBe('unknown');
    expect(report.networks).toMatchObject([{ network: 'eip155:8453', problem: expect.any(String) }]);
  });
});

describe('TRUST_FACILITATOR with an RPC URL', () => {
  it('changes nothing: the chain decides', async () => {
    const { payment, answer } = await pay(seeing, 'says-success-sent-nothing');
    expect([answer.statusCode, await arrivals(seeing, payment)]).toEqual([504, 0]);
    const { rows } = await seeing.sql.query('SELECT count(*)::int AS n FROM cell_0.transfer');
    expect(rows[0].n).toBe(0);
    expect((await pay(seeing, 'honest')).answer.statusCode).toBe(200);
    expect((await seeing.app.inject('/readyz')).body).toContain(
      'TRUST_FACILITATOR is on and changes nothing',
    );
  });
});

it('is off unless it is set', async () => {
  const plain = await startGateway();
  expect((await plain.app.inject('/readyz')).body).not.toContain('TRUST_FACILITATOR');
  await plain.stop();
});
