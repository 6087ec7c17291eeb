import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unavailable } from '../../src/lib/errors.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, signPayment } from '../support/payment.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startVerifiers } from '../support/webhook-verifiers.ts';

let gateway: TestGateway;
let receiver: Receiver;
let secret: string;
let isNodeSilent = false;
const verifiers = startVerifiers();

const admin = (method: 'POST' | 'GET', path: string, payload?: object) =>
  gateway.app.inject({
    method,
    url: `/admin/v1${path}`,
    headers: { authorization: `Bearer ${gateway.config.adminApiKey}` },
    ...(payload && { payload }),
  });

beforeAll(async () => {
  gateway = await startGateway({
    seams: {
      allowLoopbackWebhooks: true,
      settleWaitMs: 600,
      reconcileEveryMs: 100,
      evmClient: client => ({
        ...client,
        receipt: hash => (isNodeSilent ? Promise.reject(unavailable('the Base node')) : client.receipt(hash)),
      }),
    },
  });
  receiver = await startReceiver();
  const registered = await admin('POST', '/webhooks', { url: receiver.url, verify: true });
  expect(registered.statusCode).toBe(200);
  secret = registered.json<{ secret: string }>().secret;
});

afterAll(async () => {
  verifiers.stop();
  await receiver?.close();
  await gateway?.stop();
});

describe('a payment of another dialect', () => {
  it('is told to the operator: that its outcome is not known, and then that it is credited', async () => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    isNodeSilent = true;
    const answer = await gateway.app.inject({
      method: 'POST',
      url: '/api/v1/x402/top-up',
      headers: { 'payment-signature': paymentHeader(payment) },
    });
    expect(answer.statusCode).toBe(504);
    isNodeSilent = false;
    await expect.poll(() => receiver.arrivals.length, { timeout: 15_000 }).toBe(3);
    const told = receiver.arrivals.map(({ body }) => JSON.parse(body) as { type: string; data: object });
    expect(told.map(({ type }) => type)).toEqual(['webhook.test', 'payment.pending', 'payment.credited']);
    const { paymentId } = answer.json<{ details: { paymentId: string } }>().details;
    expect(told[1]?.data).toMatchObject({ paymentId, network: 'eip155:8453', source: 'venice' });
    expect(told[2]?.data).toMatchObject({ paymentId, amountNanoUsd: '10000000000' });
    for (const arrival of receiver.arrivals) {
      const id = arrival.headers['webhook-id'];
      expect(await verifiers.verify(arrival, secret)).toEqual({ stripe: id, standard: id });
      expect(arrival.headers['user-agent']).toBe('x402-topup-gateway-webhooks/1');
    }
  });

  it('is in the operator’s log, and can be delivered once more', async () => {
    const log = await admin('GET', '/webhooks/deliveries?event=payment.credited');
    const [delivery] = log.json<{ deliveries: { id: string; eventId: string }[] }>().deliveries;
    expect(delivery).toMatchObject({
      state: 'succeeded',
      event: 'payment.credited',
      attempts: [{ http_status: 200 }],
    });
    const replayed = await admin('POST', `/webhooks/deliveries/${delivery?.id}/replay`);
    expect(replayed.json()).toMatchObject({ replayOf: delivery?.id, eventId: delivery?.eventId });
    await expect.poll(() => receiver.arrivals.length, { timeout: 15_000 }).toBe(4);
    expect(receiver.arrivals[3]?.body).toBe(receiver.arrivals[2]?.body);
    expect((await admin('GET', '/webhooks')).json()).toMatchObject({ webhooks: [{ active: true }] });
    expect((await admin('GET', '/webhooks?environment=test')).json()).toEqual({ webhooks: [] });
  });
});
