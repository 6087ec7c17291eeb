import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EvmClient } from '../../src/ports/evm-client.ts';
import type { Seams } from '../../src/services/seams.ts';
import { usdcTransfersTo } from '../support/chain.ts';
import { startFacilitator, type TestFacilitator } from '../support/facilitator.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, type SignedPayment, signPayment } from '../support/payment.ts';

/** Selector of `authorizationState(address,bytes32)`. */
const STATE_CALL = '0xe94a0102';

/** Nonces of payments that the gateway's node has not seen yet, and hashes that it does not know. */
const unseen = { nonces: new Set<string>(), isLagging: false };

function lagging(client: EvmClient): EvmClient {
  const isUnseen = (data: string) => [...unseen.nonces].some(nonce => data.includes(nonce.slice(2)));
  return {
    ...client,
    receipt: async hash => (unseen.isLagging ? undefined : client.receipt(hash)),
    call: (to, data, options) =>
      unseen.isLagging && data.startsWith(STATE_CALL) && isUnseen(data)
        ? Promise.resolve(`0x${'0'.repeat(64)}`)
        : client.call(to, data, options),
  };
}

const seams: Seams = {
  evmClient: lagging,
  settleWaitMs: 500,
  settleTimeoutMs: 2_000,
  reconcileEveryMs: 100,
  doubtAfterMs: 300,
};

let facilitator: TestFacilitator;
let gateway: TestGateway;

beforeAll(async () => {
  facilitator = await startFacilitator();
  gateway = await startGateway({ seams, settings: { FACILITATORS: `${facilitator.url},embedded` } });
});

afterAll(async () => {
  await gateway.stop();
  await facilitator.stop();
});

async function newPayment(): Promise<SignedPayment> {
  return signPayment(await createPayer(100n), gateway.payTo, 5_000_000n);
}

async function pay(payment: SignedPayment): Promise<number> {
  const answer = await gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
  return answer.statusCode;
}

async function storedOf({ authorization }: SignedPayment) {
  const { rows } = await gateway.sql.query(
    'SELECT state, facilitator, payment_id FROM cell_0.payment WHERE identity LIKE $1',
    [`%${authorization.nonce.toLowerCase()}`],
  );
  return rows[0];
}

/** Whom the next new payment would go to. */
async function settlesNext(): Promise<string> {
  const payment = await newPayment();
  expect(await pay(payment)).toBe(200);
  return (await storedOf(payment)).facilitator;
}

const troubles = async () => (await gateway.app.inject('/readyz')).body;

/** Replicas learn of each other's doubts every five seconds. */
const WAIT = { timeout: 20_000, interval: 200 };

async function marks() {
  const { rows } = await gateway.sql.query(
    'SELECT name, distrust_reason FROM directory.facilitator WHERE distrusted_at IS NOT NULL',
  );
  return rows;
}

describe('a facilitator whose success the chain does not show', () => {
  it('gets no new payments until the chain shows it, and is as good as before then', async () => {
    const payment = await newPayment();
    unseen.nonces.add(payment.authorization.nonce.toLowerCase());
    unseen.isLagging = true;
    expect(await pay(payment)).toBe(504);
    const { payment_id: paymentId } = await storedOf(payment);
    await expect.poll(troubles, WAIT).toContain(`it said that it settled payment ${paymentId}`);
    unseen.isLagging = false;
    await expect.poll(async () => (await storedOf(payment)).state, WAIT).toBe('credited');
    await expect.poll(troubles, WAIT).not.toContain('it said that it settled payment');
    expect([await settlesNext(), await marks()]).toEqual([facilitator.url, []]);
  });

  it('gets no new payments, and is marked when the money comes by another transaction after all', async () => {
    const payment = await newPayment();
    const { nonce, from } = payment.authorization;
    await facilitator.plan(nonce, 'says-success-sent-nothing');
    expect(await pay(payment)).toBe(504);
    const { payment_id: paymentId } = await storedOf(payment);
    await expect.poll(troubles, WAIT).toContain(`it said that it settled payment ${paymentId}`);
    expect([await settlesNext(), await marks()]).toEqual(['embedded', []]);
    expect((await storedOf(payment)).facilitator).toBe(facilitator.url);

    await facilitator.plan(nonce, 'honest');
    await expect.poll(async () => (await storedOf(payment)).state, WAIT).toBe('credited');
    expect(await marks()).toEqual([{ name: facilitator.url, distrust_reason: 'named_another_transaction' }]);
    const transfers = await usdcTransfersTo(gateway.payTo);
    expect(transfers.filter(transfer => transfer.from === from.toLowerCase())).toHaveLength(1);
    expect(await settlesNext()).toBe('embedded');
  });
});
