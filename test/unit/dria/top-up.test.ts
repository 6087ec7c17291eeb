import { beforeEach, describe, expect, it } from 'vitest';
import { encodeBase64Json } from '../../../src/lib/base64.ts';
import { GatewayError, unavailable } from '../../../src/lib/errors.ts';
import type { PaymentState } from '../../../src/payments/payment.ts';
import type { TopupOutcome } from '../../../src/topups/types.ts';
import {
  base,
  baseSepolia,
  type DriaFixture,
  driaApp,
  headerJson,
  LIVE_KEY,
  nowSeconds,
  ORIGIN,
  PAYER,
  paymentOf,
  secondVersion,
  TEST_KEY,
  TRANSACTION,
  topUp,
} from './dria-app.ts';

const CHECKSUMMED_PAY_TO = '0x52908400098527886E0F7030069857D2E4169EE7';

/** The body that published version 1 clients accept, for 25 USDC on Base. */
const OFFER = {
  x402Version: 1,
  error: 'X-PAYMENT header is required',
  accepts: [
    {
      scheme: 'exact',
      network: 'base',
      maxAmountRequired: '25000000',
      resource: `${ORIGIN}/v1/credits/topup`,
      description: '2500 inference credits',
      mimeType: 'application/json',
      payTo: CHECKSUMMED_PAY_TO,
      asset: '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913',
      maxTimeoutSeconds: 300,
      extra: { name: 'USD Coin', version: '2' },
    },
  ],
};

/** The same for version 2 clients. */
const SECOND_OFFER = {
  x402Version: 2,
  error: 'X-PAYMENT header is required',
  resource: {
    url: `${ORIGIN}/v1/credits/topup`,
    description: '2500 inference credits',
    mimeType: 'application/json',
  },
  accepts: [
    {
      scheme: 'exact',
      network: 'eip155:8453',
      amount: '25000000',
      payTo: CHECKSUMMED_PAY_TO,
      asset: '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913',
      maxTimeoutSeconds: 300,
      extra: { name: 'USD Coin', version: '2' },
    },
  ],
};

let fixture: DriaFixture;
beforeEach(async () => {
  fixture = await driaApp();
});

const PLAIN = 'text/plain; charset=utf-8';

async function expectText(answer: Awaited<ReturnType<typeof topUp>>, status: number, text?: RegExp | string) {
  expect(answer.statusCode).toBe(status);
  expect(answer.headers['content-type']).toBe(PLAIN);
  expect(answer.body).toMatch(/^[^{\s].*\S$/);
  if (text !== undefined) expect(answer.body).toMatch(text);
}

async function expectRefused(payment: unknown, reason: string, header?: string) {
  const answer = await topUp(fixture, { payment, ...(header ? { header } : {}) });
  expect(answer.statusCode).toBe(402);
  expect(answer.json()).toEqual({ ...OFFER, error: reason });
  expect(headerJson(answer.headers['payment-required'])).toEqual({ ...SECOND_OFFER, error: reason });
  return answer;
}

describe('the offer', () => {
  it('is version 1 in the body and version 2 in the header', async () => {
    const answer = await topUp(fixture);
    expect(answer.statusCode).toBe(402);
    expect(answer.headers['content-type']).toMatch(/^application\/json/);
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(answer.json()).toEqual(OFFER);
    expect(headerJson(answer.headers['payment-required'])).toEqual(SECOND_OFFER);
    expect(fixture.requests).toEqual([]);
  });

  it('is Base Sepolia for a test key', async () => {
    const answer = await topUp(fixture, { key: TEST_KEY });
    expect(answer.json()).toMatchObject({
      accepts: [
        {
          network: 'base-sepolia',
          asset: '0x036CbD53842c5426634e7929541eC2318f3dCF7e',
          extra: { name: 'USDC', version: '2' },
        },
      ],
    });
    expect(answer.json().accepts).toHaveLength(1);
  });

  it.each([
    ['application/json', '{"amount":"25"}'],
    ['text/plain;charset=UTF-8', '{"amount":"25"}'],
    ['application/x-www-form-urlencoded', ' {"amount" : "25"} '],
    ['', '{"amount":"25","note":"ignored"}'],
    ['garbage', '{"amount":"25"}'],
  ])('is made whatever content type is announced: %s', async (type, body) => {
    const answer = await topUp(fixture, { body, headers: { 'content-type': type } });
    expect(answer.json()).toEqual(OFFER);
  });

  it.each<[string | number, string, string]>([
    ['0.01', '10000', '1 inference credit'],
    ['0.07', '70000', '7 inference credits'],
    ['4.35', '4350000', '435 inference credits'],
    ['10', '10000000', '1000 inference credits'],
    ['10.00', '10000000', '1000 inference credits'],
    [10, '10000000', '1000 inference credits'],
    [4.35, '4350000', '435 inference credits'],
    ['10000', '10000000000', '1000000 inference credits'],
  ])('of %j asks for %s base units', async (amount, maxAmountRequired, description) => {
    const answer = await topUp(fixture, { body: { amount } });
    expect(answer.statusCode).toBe(402);
    expect(answer.json().accepts).toMatchObject([{ maxAmountRequired, description }]);
    expect(answer.json().accepts[0].description).toBe(description);
  });

  it.each<unknown>([
    { amount: 'abc' },
    { amount: '' },
    { amount: '0' },
    { amount: '0.00' },
    { amount: '-1' },
    { amount: '+1' },
    { amount: '1e3' },
    { amount: '1.005' },
    { amount: '1.' },
    { amount: '.5' },
    { amount: '01' },
    { amount: ' 1' },
    { amount: '1\n' },
    { amount: '1,000' },
    { amount: '0x10' },
    { amount: '10000.01' },
    { amount: '99999999' },
    { amount: 0.001 },
    { amount: -5 },
    { amount: 1e21 },
    { amount: null },
    { amount: ['25'] },
    { amount: true },
    {},
    [],
    null,
    'not json',
    '',
    '{"amount":"25"',
    '{"amount":"25","__proto__":{}}',
  ])('is not made for %j', async body => {
    await expectText(await topUp(fixture, { body }), 400);
  });

  it('is not made while a payment of the account may still arrive', async () => {
    fixture.hasPending = true;
    const answer = await topUp(fixture);
    await expectText(answer, 503, 'do not sign a new payment');
    expect(answer.headers['retry-after']).toBe('2');
    expect(answer.headers['payment-required']).toBeUndefined();
    expect((await topUp(fixture, { payment: paymentOf() })).statusCode).toBe(200);
  });

  it('is not made when there is no way to pay in the environment of the key', async () => {
    fixture = await driaApp({ paymentOptions: [base] });
    await expectText(await topUp(fixture, { key: TEST_KEY }), 503);
    expect((await topUp(fixture)).statusCode).toBe(402);
  });
});

describe('without a valid key', () => {
  it.each([
    ['no header', {}],
    ['another scheme', { authorization: `Basic ${LIVE_KEY}` }],
    ['no key', { authorization: 'Bearer' }],
    ['an unknown key', { authorization: `Bearer dkn_live_${'x'.repeat(40)}` }],
    ['two keys', { authorization: `Bearer ${LIVE_KEY} ${LIVE_KEY}` }],
    ['a bare key', { authorization: LIVE_KEY }],
  ])('%s: the same 401, and neither offer nor settlement', async (_, headers: Record<string, string>) => {
    for (const payment of [undefined, paymentOf()]) {
      const answer = await topUp(fixture, { key: undefined, headers, payment });
      await expectText(answer, 401, /^invalid or missing API key$/);
      expect(answer.headers['www-authenticate']).toBe('Bearer');
    }
    expect(fixture.requests).toEqual([]);
  });

  it('nothing else is looked at first', async () => {
    for (const body of ['not json', { amount: 'abc' }, 'x'.repeat(100_000)]) {
      await expectText(await topUp(fixture, { key: undefined, body }), 401);
    }
    await expectText(await topUp(fixture, { key: undefined, payment: 'not base64!' }), 401);
  });

  it('the scheme word may be written in any letter case', async () => {
    const headers = { authorization: `bEARER ${LIVE_KEY}` };
    expect((await topUp(fixture, { key: undefined, headers })).statusCode).toBe(402);
  });
});

describe('a payment', () => {
  it('of version 1 is credited to the owner of the key', async () => {
    const answer = await topUp(fixture, { payment: paymentOf() });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({
      credits_added: 2500,
      balance: 3235,
      balance_usdc: '32.35',
      txHash: TRANSACTION,
    });
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(headerJson(answer.headers['x-payment-response'])).toEqual({
      success: true,
      transaction: TRANSACTION,
      network: 'base',
      payer: PAYER,
    });
    expect(answer.headers['payment-response']).toBeUndefined();
    expect(fixture.requests).toMatchObject([
      { environment: 'live', source: 'dria', customer: { customerId: 'customer-1' } },
    ]);
  });

  it('of version 2 has its receipt in the other header', async () => {
    const answer = await topUp(fixture, { payment: secondVersion(), header: 'PAYMENT-SIGNATURE' });
    expect(answer.statusCode).toBe(200);
    expect(headerJson(answer.headers['payment-response'])).toEqual({
      success: true,
      transaction: TRANSACTION,
      network: 'eip155:8453',
      payer: PAYER,
    });
    expect(answer.headers['x-payment-response']).toBeUndefined();
  });

  it('on Base Sepolia is good with a test key alone', async () => {
    const payment = paymentOf({}, { network: 'base-sepolia' });
    expect((await topUp(fixture, { payment, key: TEST_KEY })).statusCode).toBe(200);
    expect(fixture.requests).toMatchObject([
      { environment: 'test', customer: { customerId: 'customer-2' }, payment: { asset: baseSepolia.asset } },
    ]);
    await expectRefused(payment, 'invalid_network');
    const live = await topUp(fixture, { payment: paymentOf(), key: TEST_KEY });
    expect(live.statusCode).toBe(402);
    expect(live.json()).toMatchObject({ error: 'invalid_network' });
    expect(fixture.requests).toHaveLength(1);
  });

  const { payload } = paymentOf();
  it.each<[string, unknown]>([
    ['not base64', 'not base64!'],
    ['empty', ''],
    ['cut off', encodeBase64Json(paymentOf()).slice(0, 100)],
    ['not an object', 'WzFd'],
    ['null', 'bnVsbA=='],
    ['without a version', { ...paymentOf(), x402Version: undefined }],
    ['without a payload', { ...paymentOf(), payload: undefined }],
    ['without a signature', { ...paymentOf(), payload: { ...payload, signature: undefined } }],
    ['without an authorization', { ...paymentOf(), payload: { signature: payload.signature } }],
    ['with a number for a time', paymentOf({ validBefore: 1795198000 })],
    ['with a short nonce', paymentOf({ nonce: '0xab' })],
    ['with a broken payer', paymentOf({ from: '0x12' })],
    ['as a Permit2 permission', { ...paymentOf(), payload: { permit2Authorization: {} } }],
    ['twice', `${encodeBase64Json(paymentOf())}, ${encodeBase64Json(paymentOf())}`],
  ])('%s is malformed', async (_, payment) => {
    await expectText(await topUp(fixture, { payment }), 400);
    expect(fixture.requests).toEqual([]);
  });

  it('under both header names is malformed, because there would be two', async () => {
    const headers = { 'payment-signature': encodeBase64Json(secondVersion()) };
    await expectText(await topUp(fixture, { payment: paymentOf(), headers }), 400);
  });

  it.each<[string, unknown, string]>([
    ['of another version', paymentOf({}, { x402Version: 2 }), 'invalid_x402_version'],
    ['of a version to come', paymentOf({}, { x402Version: 3 }), 'invalid_x402_version'],
    ['of another scheme', paymentOf({}, { scheme: 'upto' }), 'unsupported_scheme'],
    ['on another network', paymentOf({}, { network: 'polygon' }), 'invalid_network'],
    ['to somebody else', paymentOf({ to: PAYER }), 'invalid_exact_evm_payload_recipient_mismatch'],
    [
      'to a receiver with a wrong checksum',
      paymentOf({ to: CHECKSUMMED_PAY_TO.replace('E0F', 'e0F') }),
      'invalid_exact_evm_payload_recipient_mismatch',
    ],
    ['of less', paymentOf({ value: '24999999' }), 'invalid_exact_evm_payload_authorization_value'],
    ['of more', paymentOf({ value: '25000001' }), 'invalid_exact_evm_payload_authorization_value'],
    ['of nothing', paymentOf({ value: '0' }), 'invalid_exact_evm_payload_authorization_value'],
    [
      'that ends in five seconds',
      paymentOf({ validBefore: `${nowSeconds + 5n}` }),
      'invalid_exact_evm_payload_authorization_valid_before',
    ],
    [
      'that begins in a second',
      paymentOf({ validAfter: `${nowSeconds + 1n}` }),
      'invalid_exact_evm_payload_authorization_valid_after',
    ],
  ])('%s is refused with a fresh offer', async (_, payment, reason) => {
    await expectRefused(payment, reason);
    expect(fixture.requests).toEqual([]);
  });

  it('under the other version’s header is refused', async () => {
    await expectRefused(paymentOf(), 'invalid_x402_version', 'PAYMENT-SIGNATURE');
    await expectRefused(secondVersion(), 'invalid_x402_version');
  });

  it.each([
    { validAfter: '0' },
    { validAfter: `${nowSeconds}` },
    { validBefore: `${nowSeconds + 6n}` },
    { to: CHECKSUMMED_PAY_TO },
  ])('with %j is good', async changes => {
    expect((await topUp(fixture, { payment: paymentOf(changes) })).statusCode).toBe(200);
  });

  it('is bound to the amount of its own request', async () => {
    const answer = await topUp(fixture, { payment: paymentOf(), body: { amount: '100' } });
    expect(answer.statusCode).toBe(402);
    expect(answer.json()).toMatchObject({
      error: 'invalid_exact_evm_payload_authorization_value',
      accepts: [{ maxAmountRequired: '100000000' }],
    });
    expect(fixture.requests).toEqual([]);
  });
});

describe('a payment that is known', () => {
  const open: PaymentState[] = ['settling', 'settling', 'pending'];

  it.each(open)('and %s: another amount must wait, never sign again', async state => {
    fixture.state = state;
    const answer = await topUp(fixture, { payment: paymentOf(), body: { amount: '100' } });
    await expectText(answer, 503);
    expect(answer.headers['retry-after']).toBe('2');
    expect(fixture.requests).toEqual([]);
  });

  it('and credited: another amount is a duplicate', async () => {
    fixture.state = 'credited';
    const answer = await topUp(fixture, { payment: paymentOf(), body: { amount: '100' } });
    expect(answer.statusCode).toBe(402);
    expect(answer.json()).toMatchObject({ error: 'duplicate_settlement' });
    expect(fixture.requests).toEqual([]);
  });

  it('is answered from what is stored, also when it has expired since', async () => {
    fixture.state = 'credited';
    const answer = await topUp(fixture, { payment: paymentOf({ validBefore: '1' }) });
    expect(answer.statusCode).toBe(200);
    expect(fixture.requests).toHaveLength(1);
  });

  it('and failed is looked at again, because the chain stands above our word', async () => {
    fixture.state = 'failed';
    expect((await topUp(fixture, { payment: paymentOf({ validBefore: '1' }) })).statusCode).toBe(200);
    const other = await topUp(fixture, { payment: paymentOf(), body: { amount: '100' } });
    expect(other.json()).toMatchObject({ error: 'invalid_exact_evm_payload_authorization_value' });
  });

  it.each<[PaymentState, number]>([
    ['credited', 402],
    ['pending', 503],
  ])('and %s: another signature gets %i', async (state, status) => {
    fixture.state = state;
    fixture.outcome = () => ({ kind: 'refused', reason: 'invalid_exact_evm_signature', message: 'no' });
    const answer = await topUp(fixture, { payment: paymentOf() });
    expect(answer.statusCode).toBe(status);
    if (status === 402) expect(answer.json()).toMatchObject({ error: 'duplicate_settlement' });
  });
});

describe('an outcome', () => {
  const paymentId = 'payment-7';

  it.each<TopupOutcome>([
    { kind: 'in_progress', paymentId, retryAfterSeconds: 3 },
    { kind: 'pending', paymentId, transaction: TRANSACTION, retryAfterSeconds: 3 },
    { kind: 'conflict', settled: false },
  ])('that is not known is never a 402: %o', async outcome => {
    fixture.outcome = () => outcome;
    const answer = await topUp(fixture, { payment: paymentOf() });
    await expectText(answer, 503, 'repeat the same request');
    expect(answer.headers['retry-after']).toBe('2');
    expect(answer.headers['payment-required']).toBeUndefined();
    expect(answer.headers['cache-control']).toBe('no-store');
  });

  it('in which the money became credit of the wallet that paid is no offer', async () => {
    fixture.outcome = () => ({ kind: 'conflict', settled: true, isOfPayer: true });
    const answer = await topUp(fixture, { payment: paymentOf() });
    await expectText(answer, 409, 'do not pay again');
    expect(answer.headers['payment-required']).toBeUndefined();
    expect(answer.headers['x-payment-response']).toBeUndefined();
  });

  const failed = (reason: string): TopupOutcome => ({
    kind: 'failed',
    paymentId,
    reason,
    transaction: undefined,
  });
  const refused = (reason: string): TopupOutcome => ({ kind: 'refused', reason, message: 'text' });

  it.each<[TopupOutcome, string]>([
    [failed('reverted'), 'invalid_transaction_state'],
    [failed('expired'), 'payment_expired'],
    [failed('cancelled'), 'invalid_transaction_state'],
    [failed('used_elsewhere'), 'invalid_transaction_state'],
    [failed('something_new'), 'unexpected_settle_error'],
    [refused('invalid_exact_evm_signature'), 'invalid_exact_evm_payload_signature'],
    [refused('invalid_exact_evm_insufficient_balance'), 'insufficient_funds'],
    [refused('invalid_exact_evm_nonce_already_used'), 'duplicate_settlement'],
    [
      refused('invalid_exact_evm_payload_authorization_valid_before'),
      'invalid_exact_evm_payload_authorization_valid_before',
    ],
    [refused('something_new'), 'unexpected_verify_error'],
    [{ kind: 'conflict', settled: true }, 'duplicate_settlement'],
  ])('in which provably nothing was credited is a fresh offer: %o', async (outcome, reason) => {
    fixture.outcome = () => outcome;
    const answer = await expectRefused(paymentOf(), reason);
    expect(headerJson(answer.headers['x-payment-response'])).toEqual({
      success: false,
      errorReason: reason,
      transaction: '',
      network: 'base',
      payer: PAYER,
    });
  });

  it('that refuses makes no offer while another payment may still arrive', async () => {
    fixture.hasPending = true;
    fixture.outcome = () => refused('invalid_exact_evm_insufficient_balance');
    await expectText(await topUp(fixture, { payment: paymentOf() }), 503);
  });

  it('that nobody can tell because a part is down asks to come back', async () => {
    const logLines: string[] = [];
    fixture = await driaApp({}, logLines);
    fixture.outcome = () => {
      throw unavailable('the chain', new Error('https://user:secret@node'));
    };
    const answer = await topUp(fixture, { payment: paymentOf() });
    await expectText(answer, 503);
    expect(answer.headers['retry-after']).toBe('2');
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
    await expectText(await topUp(fixture, { payment: paymentOf() }), 500, /^internal error$/);
  });
});
