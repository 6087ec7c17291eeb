import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeBase64Json } from '../../../src/lib/base64.ts';
import { usdcBalance } from '../../support/chain.ts';
import type { TestGateway } from '../../support/gateway.ts';
import { createPayer, paymentJson, signPayment } from '../../support/payment.ts';
import { balance, call, createCaller, startAitopupGateway } from './aitopup-gateway.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startAitopupGateway();
});

afterAll(() => gateway?.stop());

interface Offer {
  x402Version: number;
  resource: { url: string };
  accepts: { scheme: string; network: string; amount: string; payTo: string }[];
}

const decode = (header: unknown): unknown => JSON.parse(Buffer.from(String(header), 'base64').toString());

describe('the wallet of a key', () => {
  it('is filled by an x402 payment, once', async () => {
    const { apiKey } = await createCaller(gateway, { environment: 'live', cents: 0n });
    const fund = (headers: Record<string, string> = {}, cents = 2_500) =>
      call(gateway.app, '/topup/fund', { key: apiKey, body: { amount_cents: cents }, headers });
    const asked = await fund();
    expect(asked).toMatchObject({
      status: 402,
      code: 2002,
      success: false,
      data: { reason: 'payment_required' },
    });
    const offer = decode(asked.headers['payment-required']) as Offer;
    const [accepted] = offer.accepts;
    expect(offer).toMatchObject({
      x402Version: 2,
      resource: { url: 'http://127.0.0.1:4020/api/public/v1/topup/fund' },
      accepts: [{ scheme: 'exact', network: 'eip155:8453', amount: '25000000' }],
    });
    const payer = await createPayer(100n);
    const payload = paymentJson(await signPayment(payer, gateway.payTo, 25_000_000n));
    const header = encodeBase64Json({ x402Version: 2, accepted, payload, resource: offer.resource });
    const wrong = await fund({ 'payment-signature': header }, 2_600);
    expect(wrong).toMatchObject({ status: 402, code: 2002, data: { reason: 'payment_refused' } });
    expect(await balance(gateway.app, apiKey)).toBe(0);

    const paid = await fund({ 'payment-signature': header });
    expect(paid).toMatchObject({
      status: 200,
      code: 1000,
      data: {
        amount_cents: 2_500,
        wallet_balance_cents: 2_500,
        environment: 'live',
        transaction: expect.stringMatching(/^0x/),
      },
    });
    expect(decode(paid.headers['payment-response'])).toMatchObject({
      success: true,
      network: 'eip155:8453',
      transaction: paid.data['transaction'],
    });
    const again = await fund({ 'payment-signature': header });
    expect(again).toMatchObject({ code: 1000, data: { payment_id: paid.data['payment_id'] } });
    const other = await createCaller(gateway, { environment: 'live', cents: 0n });
    const stolen = await call(gateway.app, '/topup/fund', {
      key: other.apiKey,
      body: { amount_cents: 2_500 },
      headers: { 'payment-signature': header },
    });
    expect(stolen).toMatchObject({ status: 409, code: 2006, data: { reason: 'payment_conflict' } });
    expect([await balance(gateway.app, apiKey), await balance(gateway.app, other.apiKey)]).toEqual([
      2_500, 0,
    ]);
    expect(await usdcBalance(gateway.payTo)).toBe(25_000_000n);
  });

  it('is not filled by what is no payment', async () => {
    const { apiKey } = await createCaller(gateway, { environment: 'live', cents: 0n });
    const headers = { 'payment-signature': 'bm90aGluZw==' };
    const body = { amount_cents: 2_500 };
    expect(await call(gateway.app, '/topup/fund', { key: apiKey, body, headers })).toMatchObject({
      status: 400,
      code: 2000,
    });
    expect(await call(gateway.app, '/topup/fund', { key: apiKey, body: { amount_cents: 1 } })).toMatchObject({
      code: 2005,
    });
  });
});
