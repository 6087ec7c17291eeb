import { describe, expect, it } from 'vitest';
import { hintsAtSettlement, readSettleAnswer } from '../../../src/facilitators/facilitator-answers.ts';
import { encodeBase58 } from '../../../src/lib/svm-address.ts';
import type { ExactPayment } from '../../../src/ports/payment.ts';

const NETWORK = 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp';

/** What is read of an answer depends on the network and the kind alone. */
const onSolana = { kind: 'solana', network: NETWORK } as ExactPayment;
const onBase = { kind: 'eip3009', network: 'eip155:8453' } as ExactPayment;

const named = (payment: ExactPayment, transaction: unknown) =>
  readSettleAnswer({ success: true, transaction, network: payment.network }, payment, 'alias')?.transaction;

describe('the transaction that a settle answer names', () => {
  it.each([
    new Uint8Array(64).fill(255),
    new Uint8Array(64),
    Uint8Array.from({ length: 64 }, (_, index) => index),
  ])('is 64 bytes in base58 on Solana', bytes => {
    const signature = encodeBase58(bytes);
    expect(named(onSolana, signature)).toBe(signature);
  });

  it.each([
    ['one byte too few', encodeBase58(new Uint8Array(63).fill(255))],
    ['one byte too many', encodeBase58(new Uint8Array(65).fill(1))],
    ['88 characters that are more', 'z'.repeat(88)],
    ['66 characters that are fewer', 'z'.repeat(66)],
    ['not base58', '0'.repeat(88)],
    ['a hash of another chain', `0x${'ab'.repeat(32)}`],
    ['empty', ''],
    ['no text', 7],
  ])('is nothing to look for on Solana when it is %s', (_, transaction) => {
    expect(named(onSolana, transaction)).toBeUndefined();
  });

  it('is a hash in lower case on EVM networks', () => {
    expect(named(onBase, `0x${'AB'.repeat(32)}`)).toBe(`0x${'ab'.repeat(32)}`);
    expect(named(onBase, `0x${'ab'.repeat(31)}`)).toBeUndefined();
  });
});

describe('an answer to a settle call that is no result', () => {
  const hash = `0x${'ab'.repeat(32)}`;

  it.each([
    undefined,
    null,
    'slow down',
    {},
    { error: 'unauthorized', transaction: '' },
    { error: 'no transaction', transaction: null },
    { error: { code: 'rate_limited', requestId: `0x${'ab'.repeat(16)}` } },
  ])('tells nothing of a settlement: %j', body => {
    expect(hintsAtSettlement(body)).toBe(false);
  });

  it.each([
    { transaction: hash },
    { error: 'unauthorized', transaction: 'on its way' },
    { error: 'rate limited', txHash: hash },
    { error: `too many calls after ${hash}` },
    [{ signature: encodeBase58(new Uint8Array(64).fill(7)) }],
    { success: 'true' },
    { success: true, network: 'another network' },
  ])('may tell of one: %j', body => {
    expect(hintsAtSettlement(body)).toBe(true);
  });
});
