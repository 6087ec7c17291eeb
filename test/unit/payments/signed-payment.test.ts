import { describe, expect, it } from 'vitest';
import { comparePayments } from '../../../src/payments/same-payment.ts';
import { decodeSigned, encodeSigned } from '../../../src/payments/signed-codec.ts';
import {
  type Eip3009Payment,
  type Permit2Payment,
  requireKind,
  type SolanaPayment,
} from '../../../src/ports/payment.ts';

const onBase: Eip3009Payment = {
  kind: 'eip3009',
  scheme: 'exact',
  network: 'eip155:8453',
  asset: `0x${'11'.repeat(20)}`,
  payTo: `0x${'22'.repeat(20)}`,
  payer: `0x${'33'.repeat(20)}`,
  amountBaseUnits: 10_000_000n,
  identity: 'eip3009:8453:token:payer:nonce',
  authorization: {
    from: `0x${'33'.repeat(20)}`,
    to: `0x${'22'.repeat(20)}`,
    value: 10_000_000n,
    validAfter: 0n,
    validBefore: 2n ** 200n,
    nonce: `0x${'44'.repeat(32)}`,
    signature: `0x${'55'.repeat(65)}`,
  },
};

const byPermit2: Permit2Payment = {
  kind: 'permit2',
  scheme: 'exact',
  network: 'eip155:8453',
  asset: onBase.asset,
  payTo: onBase.payTo,
  payer: onBase.payer,
  amountBaseUnits: 10_000_000n,
  identity: `permit2:8453:${onBase.payer}:77`,
  permit: {
    from: onBase.payer,
    to: onBase.payTo,
    token: onBase.asset,
    amount: 10_000_000n,
    nonce: 2n ** 255n + 77n,
    deadline: 2n ** 200n,
    validAfter: 0n,
    signature: `0x${'55'.repeat(65)}`,
    allowance: { nonce: 3n, deadline: 2n ** 201n, signature: `0x${'66'.repeat(65)}` },
  },
};
const { allowance: _allowance, ...permitAlone } = byPermit2.permit;
const byPermit2Alone: Permit2Payment = { ...byPermit2, permit: permitAlone };

const onSolana: SolanaPayment = {
  kind: 'solana',
  scheme: 'exact',
  network: 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp',
  asset: 'EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v',
  payTo: 'CjNFTjvBhbJJd2B5ePPMHRLx1ELZpa8dwQgGL727eKww',
  payer: '4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T',
  amountBaseUnits: 10_000_000n,
  identity: 'svm:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:00',
  transaction: {
    wire: 'AQID',
    feePayer: '9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM',
    blockhash: 'GHtXQBsoZHVnNFa9YevAzFr17DJjgHXk3ycTKD5xD3Zi',
    source: 'FEDxyXWTW9TrB5ZpZ7zyP9nLTVYrzkKHJ7YN8WxTRTiV',
    destination: '7UX2i7SucgLMQcfZ75s3VXmZZY4YRUyJN9X1RgfMoDUi',
  },
};

describe('the stored form of a signed payment', () => {
  it.each([
    ['EIP-3009', onBase],
    ['Permit2', byPermit2],
    ['Permit2 without an allowance', byPermit2Alone],
    ['Solana', onSolana],
  ])('brings every field back: %s', (_, payment) => {
    expect(decodeSigned(JSON.parse(encodeSigned(payment)))).toEqual(payment);
  });

  it.each([
    ['without its kind', { kind: undefined }],
    ['of another kind than its content', { kind: 'solana' }],
    ['with an amount that is no integer', { amountBaseUnits: '1.5' }],
  ])('is refused %s', (_, changes) => {
    const stored = { ...(JSON.parse(encodeSigned(onBase)) as object), ...changes };
    expect(() => decodeSigned(stored)).toThrow();
  });
});

describe('two payments of one identity', () => {
  it('are the same to the last byte', () => {
    expect(comparePayments(onBase, structuredClone(onBase))).toBe('same');
    expect(comparePayments(onSolana, structuredClone(onSolana))).toBe('same');
  });

  it('may differ in the signature alone', () => {
    const { authorization } = onBase;
    const resigned = { ...onBase, authorization: { ...authorization, signature: '0x00' } };
    expect(comparePayments(resigned, onBase)).toBe('resigned');
    const { transaction } = onSolana;
    expect(comparePayments({ ...onSolana, transaction: { ...transaction, wire: 'AQIE' } }, onSolana)).toBe(
      'resigned',
    );
  });

  it('of Permit2 differ in what was signed, and not by the allowance that comes with it', () => {
    expect(comparePayments(byPermit2Alone, byPermit2)).toBe('same');
    const permit = { ...byPermit2.permit, signature: '0x00' };
    expect(comparePayments({ ...byPermit2, permit }, byPermit2)).toBe('resigned');
    const other = { ...byPermit2.permit, deadline: 1n };
    expect(comparePayments({ ...byPermit2, permit: other }, byPermit2)).toBe('different');
  });

  it.each(['from', 'to', 'nonce'] as const)('are different when %s is', field => {
    const authorization = { ...onBase.authorization, [field]: '0x00' };
    expect(comparePayments({ ...onBase, authorization }, onBase)).toBe('different');
  });

  it.each(['value', 'validAfter', 'validBefore'] as const)('are different when %s is', field => {
    const authorization = { ...onBase.authorization, [field]: 7n };
    expect(comparePayments({ ...onBase, authorization }, onBase)).toBe('different');
  });

  it('are different when their kinds are', () => {
    expect(comparePayments(onSolana, onBase)).toBe('different');
  });
});

it('a payment never reaches an adapter of another kind', () => {
  expect(requireKind(onSolana, 'solana')).toBe(onSolana);
  expect(() => requireKind(onSolana, 'eip3009')).toThrow('eip3009');
});
