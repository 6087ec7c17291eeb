import { Credential } from 'mppx';
import type { Hex } from 'viem';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { connectAnvil } from '../../../src/local/anvil.ts';
import {
  challengeOf,
  createTempoPayer,
  credentialFor,
  fetchPaid,
  pathUsdBalance,
  pushCredential,
  pushTransfer,
  sendCredential,
  startTempoGateway,
  type TempoGateway,
  tempoClient,
} from '../../support/tempo.ts';
import { ledgerBreaks, movableClock } from './mobula-gateway.ts';

const SUBSCRIBE = '/subscribe?plan=startup&payment_frequency=monthly';
const PLAN_IS_OVER_DAYS = 31;

const clock = movableClock();
let gateway: TempoGateway;
/** What happens when the node is given a transaction. */
let onSend: 'pass on' | 'pass on and end the plan' | 'lose' = 'pass on';

beforeAll(async () => {
  gateway = await startTempoGateway({
    clock,
    seams: {
      settleWaitMs: 300,
      reconcileEveryMs: 100,
      evmClient: client => ({
        ...client,
        async sendRawTransaction(raw) {
          if (onSend === 'lose') return;
          await client.sendRawTransaction(raw);
          if (onSend === 'pass on and end the plan') clock.forwardDays(PLAN_IS_OVER_DAYS);
        },
      }),
    },
  });
}, 60_000);
afterEach(async () => {
  onSend = 'pass on';
  expect(await ledgerBreaks(gateway)).toEqual([]);
});
afterAll(async () => {
  await gateway?.stop();
});

async function subscribed() {
  const payer = await createTempoPayer(gateway.chain);
  const { body } = await fetchPaid(gateway, payer, SUBSCRIBE);
  return { payer, topUp: `/top-up?agent_id=${String(body['user_id'])}&amount_usd=20` };
}

describe('a plan that ends while a top-up is paid', () => {
  it('does not undo what its wallet has signed and we have sent', async () => {
    const { payer, topUp } = await subscribed();
    onSend = 'pass on and end the plan';
    expect(await fetchPaid(gateway, payer, topUp)).toMatchObject({
      status: 200,
      body: { credits_added: 50_000 },
    });
    onSend = 'pass on';
    // What we would have to send would be over by our clock.
    expect(await fetchPaid(gateway, payer, '/subscription', 'push')).toMatchObject({
      status: 200,
      body: { plan_active: false, left_days: 0, credits_left: 50_000 },
    });
    clock.forwardDays(-PLAN_IS_OVER_DAYS);
  });

  it('leaves what its wallet has sent itself as credit', async () => {
    const { payer, topUp } = await subscribed();
    const challenge = await challengeOf(gateway, topUp);
    const transfer = { payer, challenge, to: gateway.tempoPayTo, amountBaseUnits: 20_000_000n };
    const credential = pushCredential(challenge, await pushTransfer(gateway.chain, transfer), payer.address);
    clock.forwardDays(PLAN_IS_OVER_DAYS);
    expect(await sendCredential(gateway, topUp, credential)).toMatchObject({
      status: 409,
      body: { detail: expect.stringContaining('a top-up needs an active plan') },
    });
    expect(await fetchPaid(gateway, payer, '/subscription', 'push')).toMatchObject({
      status: 200,
      body: { plan_active: false, left_days: 0, credits_left: 50_000 },
    });
    clock.forwardDays(-PLAN_IS_OVER_DAYS);
  });
});

// Last, because the time of the chain does not go back.
describe('a transaction that no block takes', () => {
  it('is pending while one could, has failed after its end, and can never be executed', async () => {
    const payer = await createTempoPayer(gateway.chain);
    const credential = await credentialFor(gateway, payer, SUBSCRIBE);
    onSend = 'lose';
    const pending = await sendCredential(gateway, SUBSCRIBE, credential);
    expect(pending).toMatchObject({ status: 503, body: { title: 'settlement_pending' } });
    const statusUrl = `${gateway.origin}${String(pending.body['statusUrl'])}`;
    const payment = async () => (await (await fetch(statusUrl)).json()) as Record<string, unknown>;
    expect(await payment()).toMatchObject({ state: 'pending' });

    const node = connectAnvil(gateway.chain.rpcUrl);
    await node.increaseTime({ seconds: 60 });
    // Its end is in a safe block.
    await node.mine({ blocks: 3 });
    clock.forwardDays(60 / 86_400);
    await gateway.sql.query('UPDATE cell_0.payment SET due_at = now() WHERE payment_id = $1', [
      pending.body['paymentId'],
    ]);
    await expect.poll(payment, { timeout: 20_000 }).toMatchObject({ state: 'failed', reason: 'expired' });
    const refused = await sendCredential(gateway, SUBSCRIBE, credential);
    expect(refused).toMatchObject({ status: 402, receipt: null });
    expect(refused.headers.get('www-authenticate')).toMatch(/^Payment /);

    const { payload } = Credential.deserialize<{ signature: Hex }>(credential);
    const late = tempoClient(gateway.chain).sendRawTransactionSync({
      serializedTransaction: payload.signature,
    });
    await expect(late).rejects.toThrow();
    expect(await pathUsdBalance(gateway.chain, payer.address)).toBe(1_000_000_000n);
  });
});
