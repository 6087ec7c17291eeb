import Fastify from 'fastify';
import { describe, expect, it } from 'vitest';
import { invalidProof, PROOF_REASONS, type ProofReason } from '../../../src/customers/proof-reasons.ts';
import { errorHandler, METERED_ERRORS } from '../../../src/dialects/venice/errors.ts';
import { readPaymentHeader, readProofHeader } from '../../../src/dialects/venice/headers.ts';
import { ERROR_CODES, type ErrorCode, GatewayError, unavailable } from '../../../src/lib/errors.ts';

/** A route that charges, and fails. */
async function fail(error: () => unknown, headers: Record<string, string> = {}) {
  const app = Fastify();
  app.setErrorHandler(errorHandler(METERED_ERRORS));
  app.post('/api/v1/chat/completions', request => {
    if (readPaymentHeader(request.headers) !== undefined) {
      throw new GatewayError('payment_not_accepted_here', 'Top up first: no payment is taken here');
    }
    readProofHeader(request.headers);
    throw error();
  });
  return app.inject({ method: 'POST', url: '/api/v1/chat/completions', headers });
}

/** Every reason that the contract names. */
const REASONS: readonly ProofReason[] = [
  'PARSE_ERROR',
  'INVALID_PAYLOAD',
  'INVALID_MESSAGE',
  'ADDRESS_MISMATCH',
  'INVALID_CHAIN_ID',
  'CHAIN_MISMATCH',
  'UNSUPPORTED_CHAIN',
  'MISSING_NONCE',
  'NONCE_REUSED',
  'DOMAIN_MISMATCH',
  'TIMESTAMP_MISMATCH',
  'EXPIRED',
  'FUTURE_TIMESTAMP',
  'NOT_BEFORE',
  'INVALID_SIGNATURE',
  'INVALID_WALLET',
];

describe('a metered route refuses', () => {
  it('for the reasons of the contract and no others', () => {
    expect(Object.keys(PROOF_REASONS).toSorted()).toEqual(REASONS.toSorted());
  });

  it.each(REASONS)('a proof for the reason %s', async reason => {
    const answer = await fail(() => invalidProof(reason));
    expect(answer.statusCode).toBe(401);
    expect(answer.headers['content-type']).toMatch(/^application\/json/);
    expect(answer.json()).toEqual({ error: PROOF_REASONS[reason], code: `X402_SIGN_IN_${reason}` });
  });

  it('two proofs at once', async () => {
    const answer = await fail(() => undefined, { 'sign-in-with-x': 'a', 'x-sign-in-with-x': 'b' });
    expect([answer.statusCode, answer.json()]).toMatchObject([401, { code: 'X402_SIGN_IN_PARSE_ERROR' }]);
  });

  it('a proof of which nothing is said, with a code and a text all the same', async () => {
    const answer = await fail(() => new GatewayError('proof_invalid', ''));
    expect([answer.statusCode, answer.json()]).toEqual([
      401,
      { error: 'Sign-in-with-X authentication failed', code: 'X402_SIGN_IN_INVALID_PAYLOAD' },
    ]);
  });

  it.each(['PAYMENT-SIGNATURE', 'X-402-Payment', 'X-PAYMENT'])('a payment in %s', async name => {
    const answer = await fail(() => undefined, { [name]: 'e30=' });
    expect([answer.statusCode, answer.json()]).toEqual([
      400,
      { error: 'Top up first: no payment is taken here', code: 'PAYMENT_HEADER_NOT_ACCEPTED' },
    ]);
  });

  it('too many requests, in two ways', async () => {
    const atOnce = await fail(() => new GatewayError('too_many_at_once', 'five are running'));
    expect([atOnce.statusCode, atOnce.json()]).toEqual([
      429,
      { error: 'Too many concurrent requests', code: 'X402_CONCURRENCY_LIMIT' },
    ]);
    const perMinute = await fail(() => new GatewayError('rate_limited', 'slow down'));
    expect([perMinute.statusCode, perMinute.json()]).toEqual([429, { error: 'Rate limit exceeded' }]);
  });

  it('while a part is down, and tells when to come back', async () => {
    const answer = await fail(() => unavailable('the database', new Error('postgres://user:secret@db')));
    expect([answer.statusCode, answer.headers['retry-after']]).toEqual([503, '2']);
    expect(answer.json()).toMatchObject({ error: 'SERVICE_UNAVAILABLE' });
    expect(answer.body).not.toContain('secret');
  });

  it.each<ErrorCode>([...ERROR_CODES])('%s with a text that clients can show', async code => {
    const answer = await fail(() => new GatewayError(code, 'why'));
    expect(answer.statusCode).toBe(METERED_ERRORS[code].status);
    expect(answer.json<{ error: unknown }>().error).toMatch(/^\w/);
  });
});
