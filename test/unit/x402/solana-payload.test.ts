import { getBase64Decoder, type KeyPairSigner } from '@solana/kit';
import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { encodeBase64Json } from '../../../src/lib/base64.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { decodeExactPayment } from '../../../src/protocols/x402-exact.ts';
import { offerExtra, offeredNow } from '../../../src/protocols/x402-offer.ts';
import {
  buildTransaction,
  memo,
  newSigner,
  paymentInstructions,
  randomAddress,
  randomBlockhash,
  SOLANA,
  solanaNetwork,
  tokenAccountOf,
} from '../../support/svm-transaction.ts';

const { usdc } = solanaNetwork();
const payTo = randomAddress();
const feePayer = randomAddress();
const blockhash = randomBlockhash();
const options = [
  {
    network: 'eip155:8453',
    networkAlias: 'base',
    asset: `0x${'11'.repeat(20)}`,
    payTo: `0x${'22'.repeat(20)}`,
  },
  {
    network: SOLANA,
    networkAlias: 'solana',
    asset: usdc.address,
    payTo,
    solana: {
      tokenAccount: tokenAccountOf(payTo),
      tokenProgram: usdc.tokenProgram,
      feePayer: (): string | undefined => feePayer,
    },
  },
];
const accepted = {
  scheme: 'exact',
  network: SOLANA,
  amount: '5000000',
  asset: usdc.address,
  payTo,
  maxTimeoutSeconds: 60,
  extra: { feePayer, memo: 'offer-1' },
};

let payer: KeyPairSigner;
let transaction: string;

beforeAll(async () => {
  payer = await newSigner();
  transaction = await build();
});

function build(changes: Partial<Parameters<typeof paymentInstructions>[0]> = {}): Promise<string> {
  const fields = { payer, payTo, amount: 7_000_000n, memo: 'offer-1', ...changes };
  return buildTransaction({ feePayer, blockhash, instructions: paymentInstructions(fields) });
}

const decode = (value: unknown) => decodeExactPayment(encodeBase64Json(value), options);

function refusalOf(value: unknown): { code: string; field: unknown } {
  try {
    decode(value);
  } catch (error) {
    if (error instanceof GatewayError) return { code: error.code, field: error.details?.['field'] };
    throw error;
  }
  return expect.unreachable('the payment was accepted');
}

describe('a payment on Solana', () => {
  it('is read from version 2: the payer is the transfer’s authority, the amount what was signed', () => {
    const payment = decode({ x402Version: 2, accepted, payload: { transaction } });
    expect(payment).toEqual({
      kind: 'solana',
      scheme: 'exact',
      network: SOLANA,
      asset: usdc.address,
      payTo,
      payer: payer.address,
      amountBaseUnits: 7_000_000n,
      identity: expect.stringMatching(/^svm:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:[0-9a-f]{64}$/),
      transaction: {
        wire: transaction,
        feePayer,
        blockhash,
        source: tokenAccountOf(payer.address),
        destination: tokenAccountOf(payTo),
        memo: 'offer-1',
      },
    });
  });

  it.each([
    ['version 1', { x402Version: 1, network: 'solana' }],
    ['version 1 fields under version 2', { x402Version: 2, network: 'solana' }],
    ['version 1 fields with the CAIP-2 name', { x402Version: 2, network: SOLANA }],
  ])('is the same in %s, where no memo is demanded', (_, root) => {
    const payment = decode({ ...root, scheme: 'exact', payload: { transaction } });
    const second = decode({ x402Version: 2, accepted, payload: { transaction } });
    expect(payment.identity).toBe(second.identity);
    expect(payment.kind === 'solana' && payment.transaction).not.toHaveProperty('memo');
  });

  it('keeps its name when somebody writes into the fee payer’s place', () => {
    const bytes = Buffer.from(transaction, 'base64');
    bytes.fill(7, 1, 65);
    const touched = decode({ x402Version: 2, accepted, payload: { transaction: bytes.toString('base64') } });
    expect(touched.identity).toBe(decode({ x402Version: 2, accepted, payload: { transaction } }).identity);
  });

  it.each<[string, () => unknown, string, string]>([
    ['no transaction', () => ({}), 'payment_malformed', 'payload.transaction'],
    ['a number', () => ({ transaction: 7 }), 'payment_malformed', 'payload.transaction'],
    ['no base64', () => ({ transaction: '!' }), 'payment_malformed', 'payload.transaction'],
    [
      'base64 with a second spelling',
      () => ({ transaction: ` ${transaction}` }),
      'payment_malformed',
      'payload.transaction',
    ],
    [
      'the URL alphabet',
      () => ({ transaction: Buffer.from(transaction, 'base64').toString('base64url') }),
      'payment_malformed',
      'payload.transaction',
    ],
    ['a megabyte', () => ({ transaction: 'A'.repeat(9_000) }), 'payment_malformed', 'payload.transaction'],
    [
      'bytes behind the message',
      () => ({
        transaction: getBase64Decoder().decode(
          Buffer.concat([Buffer.from(transaction, 'base64'), Buffer.of(0)]),
        ),
      }),
      'payment_malformed',
      'payload.transaction',
    ],
    ['an EVM authorization', () => ({ authorization: {}, signature: '0x01' }), 'payment_unusable', 'payload'],
  ])('is refused with %s', (_, payload, code, field) => {
    expect(refusalOf({ x402Version: 2, accepted, payload: payload() })).toEqual({ code, field });
  });

  it.each<[string, () => Promise<string>, string]>([
    [
      'no transfer',
      () => buildTransaction({ feePayer, instructions: [memo('nothing', payer.address)] }),
      'payment_unusable',
    ],
    ['another token', () => build({ mint: randomAddress() }), 'unsupported_asset'],
    ['another receiver', () => build({ payTo: randomAddress() }), 'recipient_mismatch'],
    ['the amount zero', () => build({ amount: 0n }), 'invalid_amount'],
  ])('is refused with %s', async (_, make, code) => {
    const value = { x402Version: 2, accepted, payload: { transaction: await make() } };
    expect(refusalOf(value)).toEqual({ code, field: 'payload.transaction' });
  });

  it.each([
    ['another token', { asset: usdc.address.toLowerCase() }, 'unsupported_asset', 'accepted.asset'],
    ['the receiver in lower case', { payTo: payTo.toLowerCase() }, 'recipient_mismatch', 'accepted.payTo'],
    [
      'devnet',
      { network: 'solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1' },
      'unsupported_network',
      'accepted.network',
    ],
    ['an endless memo', { extra: { memo: 'x'.repeat(257) } }, 'payment_malformed', 'accepted.extra.memo'],
  ])('is refused when the accepted requirements name %s', (_, changes, code, field) => {
    const value = { x402Version: 2, accepted: { ...accepted, ...changes }, payload: { transaction } };
    expect(refusalOf(value)).toEqual({ code, field });
  });

  it('changed in any one byte is refused or another payment', () => {
    const bytes = Buffer.from(transaction, 'base64');
    const { identity } = decode({ x402Version: 2, accepted, payload: { transaction } });
    fc.assert(
      fc.property(
        fc.integer({ min: 129, max: bytes.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        (at, change) => {
          const changed = Buffer.from(bytes);
          changed[at] = (changed[at] ?? 0) ^ change;
          const payload = { transaction: changed.toString('base64') };
          try {
            expect(decode({ x402Version: 2, accepted, payload }).identity).not.toBe(identity);
          } catch (error) {
            expect(error).toBeInstanceOf(GatewayError);
          }
        },
      ),
      { numRuns: 300, seed: 402 },
    );
  });
});

describe('an offer', () => {
  it('carries a memo of its own on Solana, and nothing more on EVM', () => {
    const [evm, solana] = options.map(option => ({ ...option, extra: { name: 'USD Coin' } }));
    if (!evm || !solana) throw new Error('two options');
    expect(offerExtra(evm)).toEqual({ name: 'USD Coin' });
    expect(offerExtra(solana)).toMatchObject({ name: 'USD Coin', feePayer });
    const memos = Array.from({ length: 100 }, () => offerExtra(solana)['memo']);
    expect(new Set(memos).size).toBe(100);
    for (const text of memos) expect(text).toMatch(/^[0-9a-f]{32}$/);
  });

  it('is not made on Solana while nobody pays the fee', () => {
    const [evm, solana] = options.map(option => ({ ...option, extra: {} }));
    if (!evm || !solana?.solana) throw new Error('two options');
    const unpaid = { ...solana, solana: { ...solana.solana, feePayer: () => undefined } };
    expect(offeredNow([evm, solana])).toHaveLength(2);
    expect(offeredNow([evm, unpaid])).toEqual([evm]);
  });
});
