import { describe, expect, it } from 'vitest';
import { facilitatorRequest, type X402Network } from '../../../src/facilitators/x402-objects.ts';
import type { ExactPayment } from '../../../src/ports/payment.ts';

const ORIGIN = 'https://pay.example.com';

const base: X402Network = {
  network: 'eip155:8453',
  alias: 'base',
  maxTimeoutSeconds: 300,
  domain: { name: 'USD Coin', version: '2' },
};
const solana: X402Network = { network: 'solana:main', alias: 'solana', maxTimeoutSeconds: 60 };

const onBase: ExactPayment = {
  kind: 'eip3009',
  scheme: 'exact',
  network: base.network,
  asset: '0xasset',
  payTo: '0xseller',
  payer: '0xpayer',
  amountBaseUnits: 2n ** 70n,
  identity: 'eip3009:8453:0xasset:0xpayer:0xnonce',
  authorization: {
    from: '0xpayer',
    to: '0xseller',
    value: 2n ** 70n,
    validAfter: 1n,
    validBefore: 2n ** 60n,
    nonce: '0xnonce',
    signature: '0xsignature',
  },
};

function onSolana(memo?: string): ExactPayment {
  return {
    kind: 'solana',
    scheme: 'exact',
    network: solana.network,
    asset: 'Mint',
    payTo: 'Seller',
    payer: 'Payer',
    amountBaseUnits: 5n,
    identity: 'svm:main:00',
    transaction: {
      wire: 'AQID',
      feePayer: 'Fee',
      blockhash: 'Hash',
      source: 'Source',
      destination: 'Destination',
      ...(memo === undefined ? {} : { memo }),
    },
  };
}

const authorization = {
  from: '0xpayer',
  to: '0xseller',
  value: (2n ** 70n).toString(),
  validAfter: '1',
  validBefore: (2n ** 60n).toString(),
  nonce: '0xnonce',
};

/** Facilitators are known to refuse what the scheme does not demand, so each of these is everything that is sent. */
describe('what a facilitator is asked', () => {
  it('in version 2 on EVM: the accepted requirements and the signed bytes, nothing optional', () => {
    const accepted = {
      scheme: 'exact',
      network: 'eip155:8453',
      asset: '0xasset',
      amount: (2n ** 70n).toString(),
      payTo: '0xseller',
      maxTimeoutSeconds: 300,
      extra: { name: 'USD Coin', version: '2' },
    };
    expect(facilitatorRequest(onBase, base, 2, ORIGIN)).toStrictEqual({
      x402Version: 2,
      paymentPayload: { x402Version: 2, accepted, payload: { signature: '0xsignature', authorization } },
      paymentRequirements: accepted,
    });
  });

  it('in version 1 on EVM: short name, the largest amount, and a resource that the version demands', () => {
    expect(facilitatorRequest(onBase, base, 1, ORIGIN)).toStrictEqual({
      x402Version: 1,
      paymentPayload: {
        x402Version: 1,
        scheme: 'exact',
        network: 'base',
        payload: { signature: '0xsignature', authorization },
      },
      paymentRequirements: {
        scheme: 'exact',
        network: 'base',
        asset: '0xasset',
        maxAmountRequired: (2n ** 70n).toString(),
        payTo: '0xseller',
        maxTimeoutSeconds: 300,
        resource: ORIGIN,
        description: 'prepaid credit',
        mimeType: 'application/json',
        extra: { name: 'USD Coin', version: '2' },
      },
    });
  });

  it.each([
    ['with the memo that the offer demanded', 'offer-1', { feePayer: 'Fee', memo: 'offer-1' }],
    ['without a memo where none was demanded', undefined, { feePayer: 'Fee' }],
  ])('on Solana: the transaction, who pays the fee, %s', (_, memo, extra) => {
    const accepted = {
      scheme: 'exact',
      network: 'solana:main',
      asset: 'Mint',
      amount: '5',
      payTo: 'Seller',
      maxTimeoutSeconds: 60,
      extra,
    };
    expect(facilitatorRequest(onSolana(memo), solana, 2, ORIGIN)).toStrictEqual({
      x402Version: 2,
      paymentPayload: { x402Version: 2, accepted, payload: { transaction: 'AQID' } },
      paymentRequirements: accepted,
    });
  });
});
