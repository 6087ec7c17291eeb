import { beforeEach, describe, expect, it } from 'vitest';
import { encodeBase64Json } from '../../../src/lib/base64.ts';
import { GatewayError, unavailable } from '../../../src/lib/errors.ts';
import type { TopupOutcome } from '../../../src/topups/types.ts';
import {
  baseOption,
  headerJson,
  PAY_TO,
  PAYER,
  paymentOf,
  SOLANA_FEE_PAYER,
  solanaOption,
  TRANSACTION,
  USDC,
  type VeniceFixture,
  veniceApp,
} from './venice-app.ts';

const URL = '/api/v1/x402/top-up';

let fixture: VeniceFixture;
beforeEach(async () => {
  fixture = await veniceApp();
});

function pay(payment: unknown, header = 'X-402-Payment') {
  return fixture.app.inject({
    method: 'POST',
    url: URL,
    headers: { [header]: typeof payment === 'string' ? payment : encodeBase64Json(payment) },
  });
}

describe('price list', () => {
  const document = {
    x402Version: 2,
    accepts: [
      {
        scheme: 'exact',
        network: 'eip155:8453',
        amount: '5000000',
        asset: USDC,
        payTo: PAY_TO,
        maxTimeoutSeconds: 300,
        extra: { name: 'USD Coin', version: '2' },
      },
    ],
  };

  it.each<[string, Record<string, string>, string | undefined]>([
    ['an empty call without a content type', {}, undefined],
    ['an announced but empty JSON body', { 'content-type': 'application/json' }, ''],
    ['a JSON body', { 'content-type': 'application/json' }, '{"walletAddress":"0x","amountUsd":10}'],
    ['a JSON body that is not JSON', { 'content-type': 'application/json' }, '{"amount'],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 'a=1'],
    ['a body without a content type', {}, 'hello'],
    ['credentials of other routes', { authorization: 'Bearer k', 'sign-in-with-x': 'proof' }, undefined],
  ])('answers %s', async (_, headers, payload) => {
    const response = await fixture.app.inject({
      method: 'POST',
      url: URL,
      headers,
      ...(payload !== undefined && { payload }),
    });
    expect(response.statusCode).toBe(402);
    expect(response.headers['content-type']).toMatch(/^application\/json/);
    expect(response.headers['cache-control']).toBe('no-store');
    expect(response.json()).toEqual(document);
    expect(headerJson(response.headers['payment-required'])).toEqual(document);
    expect(fixture.requests).toEqual([]);
  });

  it('refuses a body beyond its limit', async () => {
    const response = await fixture.app.inject({
      method: 'POST',
      url: URL,
      headers: { 'content-type': 'application/json' },
      payload: 'x'.repeat(1_048_576),
    });
    expect(response.statusCode).toBe(413);
    expect(response.json()).toMatchObject({ error: 'PAYLOAD_TOO_LARGE' });
  });

  it('is not empty while Solana is the only way and nobody pays its fee: come back later', async () => {
    let feePayer: string | undefined;
    fixture = await veniceApp({ paymentOptions: [solanaOption(() => feePayer)] });
    const ask = () => fixture.app.inject({ method: 'POST', url: URL });
    const response = await ask();
    expect([response.statusCode, response.headers['retry-after']]).toEqual([503, '2']);
    expect(response.json()).toMatchObject({ error: 'SERVICE_UNAVAILABLE' });
    expect(response.headers['payment-required']).toBeUndefined();
    feePayer = SOLANA_FEE_PAYER;
    const offered = await ask();
    expect(offered.statusCode).toBe(402);
    expect(offered.json()).toMatchObject({ accepts: [{ extra: { feePayer } }] });
    feePayer = undefined;
    fixture = await veniceApp({ paymentOptions: [baseOption, solanaOption(() => feePayer)] });
    expect((await ask()).json()).toEqual(document);
  });

  it('is not offered when there is no way to pay', async () => {
    fixture = await veniceApp({ paymentOptions: [] });
    const response = await fixture.app.inject({ method: 'POST', url: URL });
    expect(response.statusCode).toBe(503);
    expect(response.json()).toMatchObject({ error: 'X402_NOT_CONFIGURED' });
  });
});

describe('a paid call', () => {
  it.each(['PAYMENT-SIGNATURE', 'X-402-Payment', 'x-payment'])('is read from %s', async header => {
    const response = await pay(paymentOf('10000000'), header);
    expect(response.statusCode).toBe(200);
    expect(response.json()).toEqual({
      success: true,
      data: { walletAddress: PAYER, amountCredited: 10, newBalance: 22.5, paymentId: 'payment-1' },
    });
    expect(headerJson(response.headers['payment-response'])).toEqual({
      success: true,
      network: 'eip155:8453',
      payer: PAYER,
      transaction: TRANSACTION,
    });
    expect(response.headers['cache-control']).toBe('no-store');
    expect(fixture.requests).toMatchObject([
      { environment: 'live', source: 'venice', payment: { payer: PAYER, amountBaseUnits: 10_000_000n } },
    ]);
  });

  it('tolerates the same payment under two names, never two payments', async () => {
    const [one, other] = ['10000000', '20000000'].map(value => encodeBase64Json(paymentOf(value)));
    const send = (headers: Record<string, string>) =>
      fixture.app.inject({ method: 'POST', url: URL, headers });
    expect((await send({ 'payment-signature': one!, 'x-payment': one! })).statusCode).toBe(200);
    for (const headers of [
      { 'payment-signature': one!, 'x-payment': other! },
      { 'x-402-payment': `${one}, ${one}` },
      { 'x-402-payment': one!, 'x-payment': '' },
    ]) {
      const response = await send(headers);
      expect(response.statusCode).toBe(400);
      expect(response.json()).toMatchObject({ error: 'INVALID_PAYMENT_FORMAT' });
    }
    expect(fixture.requests).toHaveLength(1);
  });

  it.each([
    ['4999999', 'AMOUNT_TOO_LOW'],
    ['1', 'AMOUNT_TOO_LOW'],
    ['10000000001', 'AMOUNT_TOO_HIGH'],
    [(2n ** 256n - 1n).toString(), 'AMOUNT_TOO_HIGH'],
  ])('of %s base units is %s', async (value, code) => {
    const response = await pay(paymentOf(value));
    expect(response.statusCode).toBe(400);
    expect(response.json()).toMatchObject({ error: code });
    expect(fixture.requests).toEqual([]);
  });

  it.each(['5000000', '10000000000'])('of exactly %s base units is inside the limits', async value => {
    expect((await pay(paymentOf(value))).statusCode).toBe(200);
  });

  const authorization = paymentOf('10000000').payload.authorization;
  const changed = (changes: object) =>
    paymentOf('1', { payload: { signature: '0x01', authorization: { ...authorization, ...changes } } });

  it.each<[string, unknown]>([
    ['INVALID_PAYMENT_FORMAT', 'not base64!'],
    ['INVALID_PAYMENT_FORMAT', ''],
    ['INVALID_PAYMENT_FORMAT', encodeBase64Json(paymentOf('10000000')).slice(0, 100)],
    ['INVALID_PAYMENT_FORMAT', changed({ validBefore: 1.5 })],
    ['INVALID_PAYMENT', paymentOf('1', { payload: { permit2Authorization: {} } })],
    ['UNSUPPORTED_NETWORK', paymentOf('1', { network: 'solana', payload: { transaction: 'AA==' } })],
    ['UNSUPPORTED_SCHEME', paymentOf('1', { scheme: 'upto' })],
    ['UNSUPPORTED_TOKEN', { x402Version: 2, accepted: { ...baseOption, asset: PAYER } }],
    ['INVALID_PAYMENT_RECIPIENT', changed({ to: PAYER })],
    ['INVALID_PAYMENT_PAYER', changed({ from: undefined })],
    ['INVALID_AMOUNT', changed({ value: 10.5 })],
    ['INVALID_AMOUNT', changed({ value: '-10000000' })],
    ['INVALID_AMOUNT', changed({ value: (2n ** 256n).toString() })],
  ])('is refused as %s', async (code, payment) => {
    const response = await pay(payment);
    expect(response.statusCode).toBe(400);
    expect(response.json()).toMatchObject({ error: code, message: expect.stringMatching(/\w{3}/) });
    expect(fixture.requests).toEqual([]);
  });
});

describe('an outcome', () => {
  const paymentId = 'payment-7';
  it.each<[TopupOutcome, number, object, object | undefined]>([
    [
      { kind: 'in_progress', paymentId, retryAfterSeconds: 2 },
      409,
      { error: 'PAYMENT_IN_PROGRESS', details: { paymentId } },
      undefined,
    ],
    [
      { kind: 'pending', paymentId, transaction: TRANSACTION, retryAfterSeconds: 5 },
      504,
      { error: 'SETTLEMENT_TIMEOUT', details: { paymentId } },
      { success: false, errorReason: 'settlement_pending', transaction: TRANSACTION },
    ],
    [
      { kind: 'failed', paymentId, reason: 'transaction_failed', transaction: undefined },
      402,
      { error: 'SETTLEMENT_FAILED', details: { paymentId, reason: 'transaction_failed' } },
      { success: false, errorReason: 'transaction_failed', transaction: '' },
    ],
    [
      { kind: 'refused', reason: 'insufficient_funds', message: 'the payer has not enough USDC' },
      400,
      {
        error: 'PAYMENT_VERIFICATION_FAILED',
        message: 'the payer has not enough USDC',
        details: { reason: 'insufficient_funds' },
      },
      undefined,
    ],
    [{ kind: 'conflict', settled: true }, 409, { error: 'PAYMENT_ALREADY_PROCESSED' }, undefined],
  ])('%o', async (outcome, status, body, settlement) => {
    fixture.outcome = () => outcome;
    const response = await pay(paymentOf('10000000'));
    expect(response.statusCode).toBe(status);
    expect(response.json()).toMatchObject(body);
    expect(response.headers['cache-control']).toBe('no-store');
    expect(response.headers['payment-required']).toBeUndefined();
    const header = response.headers['payment-response'];
    expect(header === undefined ? undefined : headerJson(header)).toEqual(
      settlement && { ...settlement, network: 'eip155:8453', payer: PAYER },
    );
    const retryAfter = 'retryAfterSeconds' in outcome ? String(outcome.retryAfterSeconds) : undefined;
    expect(response.headers['retry-after']).toBe(retryAfter);
  });

  it('that is not known to anybody because a part is down asks to come back', async () => {
    const logLines: string[] = [];
    fixture = await veniceApp({ logLines });
    fixture.outcome = () => {
      throw unavailable('the chain', new Error('https://user:secret@node'));
    };
    const response = await pay(paymentOf('10000000'));
    expect(response.statusCode).toBe(503);
    expect(response.headers['retry-after']).toBe('2');
    expect(response.json()).toMatchObject({ error: 'SERVICE_UNAVAILABLE' });
    expect(response.body).not.toContain('secret');
    expect(logLines.join('')).toContain('the chain is not available');
    expect(logLines.join('')).not.toContain('secret');
  });

  it.each([
    ['an unexpected error', new Error('password=secret')],
    ['a broken invariant', new GatewayError('internal', 'password=secret')],
  ])('that is %s keeps its text inside', async (_, error) => {
    fixture.outcome = () => {
      throw error;
    };
    const response = await pay(paymentOf('10000000'));
    expect(response.statusCode).toBe(500);
    expect(response.json()).toEqual({ error: 'INTERNAL_ERROR', message: 'Internal server error' });
  });
});

describe('browsers', () => {
  it('may send the payment headers and read the answers', async () => {
    const preflight = await fixture.app.inject({
      method: 'OPTIONS',
      url: URL,
      headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' },
    });
    expect(preflight.statusCode).toBe(204);
    expect(preflight.headers['access-control-allow-origin']).toBe('*');
    expect(preflight.headers['access-control-allow-methods']).toContain('POST');
    const allowed = String(preflight.headers['access-control-allow-headers']).toLowerCase().split(', ');
    expect(allowed).toEqual(
      expect.arrayContaining(['payment-signature', 'x-402-payment', 'x-payment', 'content-type']),
    );
    for (const response of [
      await fixture.app.inject({ method: 'POST', url: URL }),
      await pay('broken'),
      await pay(paymentOf('10000000')),
    ]) {
      expect(response.headers['access-control-allow-origin']).toBe('*');
      expect(response.headers['access-control-expose-headers']).toMatch(/PAYMENT-REQUIRED.*PAYMENT-RESPONSE/);
      expect(response.headers['access-control-allow-credentials']).toBeUndefined();
    }
  });
});

describe('the rate limit', () => {
  it('stops an address after ten calls and no other one', async () => {
    fixture = await veniceApp({ rateLimits: true });
    const call = (remoteAddress: string) => fixture.app.inject({ method: 'POST', url: URL, remoteAddress });
    for (let n = 0; n < 10; n += 1) expect((await call('192.0.2.1')).statusCode).toBe(402);
    const refused = await call('192.0.2.1');
    expect(refused.statusCode).toBe(429);
    expect(refused.json()).toEqual({ error: 'Rate limit exceeded. Please try again later.' });
    expect(Object.keys(refused.headers).filter(name => /ratelimit|retry/i.test(name))).toEqual([]);
    expect(refused.headers['cache-control']).toBe('no-store');
    expect((await call('192.0.2.2')).statusCode).toBe(402);
  });

  it('can be switched off', async () => {
    for (let n = 0; n < 25; n += 1) {
      expect((await fixture.app.inject({ method: 'POST', url: URL })).statusCode).toBe(402);
    }
  });
});
