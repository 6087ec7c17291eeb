import { PaymentRequiredV2Schema } from '@x402/core/schemas';
import { createSIWxClientHook, wrapFetchWithSIWx } from '@x402/extensions/sign-in-with-x';
import { describe, expect, it } from 'vitest';
import { checkWalletProof } from '../../../src/customers/wallet-proof.ts';
import { createWalletSignatures } from '../../../src/customers/wallet-signatures.ts';
import { credentialRequired, creditRequired } from '../../../src/dialects/venice/payment-required.ts';
import { balanceRemaining } from '../../../src/dialects/venice/wire.ts';
import type { PaymentOption } from '../../../src/topups/types.ts';
import { account, solanaWallet, WALLET } from '../siwx/signed-proof.ts';
import {
  baseOption,
  headerJson,
  NOW_MS,
  ORIGIN,
  PAY_TO,
  SOLANA_FEE_PAYER,
  solanaOption,
  USDC,
} from './venice-app.ts';

const PATH = '/api/v1/chat/completions';
const URL_OF_RESOURCE = `${ORIGIN}${PATH}`;
const asked = { publicOrigin: ORIGIN, path: PATH, nowMs: NOW_MS };

const solana = solanaOption();
const unpaidSolana = solanaOption(() => undefined);
const options: PaymentOption[] = [baseOption, solana];

const checks = { domains: ['gw.example.com'], nowMs: NOW_MS, signatures: createWalletSignatures([]) };

const challenge = {
  info: {
    domain: 'gw.example.com:8443',
    uri: URL_OF_RESOURCE,
    version: '1',
    nonce: expect.stringMatching(/^[0-9a-f]{16}$/),
    issuedAt: '2026-11-20T18:00:00.000Z',
    expirationTime: '2026-11-20T18:05:00.000Z',
    statement: 'Sign in to Venice AI',
  },
  supportedChains: [
    { chainId: 'eip155:8453', type: 'eip191' },
    { chainId: 'eip155:8453', type: 'eip1271' },
    { chainId: 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp', type: 'ed25519' },
  ],
};

/** Told on every route but the top-up: the suggested amount, and Solana by its short name. */
const suggested = [
  {
    scheme: 'exact',
    network: 'eip155:8453',
    amount: '10000000',
    asset: USDC,
    payTo: PAY_TO,
    maxTimeoutSeconds: 300,
    extra: { name: 'USD Coin', version: '2' },
  },
  {
    scheme: 'exact',
    network: 'solana',
    amount: '10000000',
    asset: solana.asset,
    payTo: solana.payTo,
    maxTimeoutSeconds: 300,
    extra: {
      name: 'USD Coin',
      version: '2',
      feePayer: SOLANA_FEE_PAYER,
      memo: expect.stringMatching(/^[0-9a-f]{32}$/),
    },
  },
];

describe('a metered route without a credential', () => {
  it('is answered with prices, a challenge and how to sign in', () => {
    const { body, header } = credentialRequired(asked, options);
    const paymentRequired = {
      x402Version: 2,
      error: 'Authentication required',
      resource: { url: URL_OF_RESOURCE, description: 'Venice API', mimeType: 'application/json' },
      accepts: suggested,
      extensions: { 'sign-in-with-x': challenge },
    };
    expect(headerJson(header)).toEqual(paymentRequired);
    const parsed = JSON.parse(body) as Record<string, unknown>;
    expect(parsed).toMatchObject(paymentRequired);
    expect(Object.keys(parsed).at(-1)).toBe('authOptions');
    expect(parsed['extensions']).toEqual((headerJson(header) as Record<string, unknown>)['extensions']);
  });

  it('has a new nonce in every challenge', () => {
    expect(credentialRequired(asked).header).not.toBe(credentialRequired(asked).header);
  });
});

describe('a wallet with too little credit', () => {
  const { body, header } = creditRequired(asked, options, 40_000_000n);

  it('is told what it has, what it needs and how to top up', () => {
    expect(JSON.parse(body)).toEqual({
      error: 'Payment required',
      code: 'PAYMENT_REQUIRED',
      reason: 'insufficient_balance',
      message: 'Insufficient x402 balance',
      currentBalanceUsd: 0.04,
      minimumBalanceUsd: 0.1,
      description: 'Venice API',
      suggestedTopUpUsd: 10,
      minimumTopUpUsd: 5,
      supportedTokens: ['USDC'],
      supportedChains: ['base', 'solana'],
      topUpInstructions: {
        step1: expect.stringContaining('POST /api/v1/x402/top-up'),
        step2: expect.any(String),
        step3: expect.stringContaining('PAYMENT-SIGNATURE'),
        receiverWallet: PAY_TO,
        tokenAddress: USDC,
        tokenDecimals: 6,
        network: 'eip155:8453',
        minimumAmountUsd: 5,
      },
      siwxChallenge: challenge,
    });
  });

  interface LowBalance {
    supportedChains: string[];
    topUpInstructions: Record<string, unknown>;
  }
  const read = (ways: PaymentOption[]) => {
    const document = creditRequired(asked, ways, 0n);
    const { accepts } = headerJson(document.header) as { accepts: { network: string }[] };
    return { ...(JSON.parse(document.body) as LowBalance), networks: accepts.map(({ network }) => network) };
  };

  it('is told of Solana only while somebody pays the fee there', () => {
    expect(read([baseOption, unpaidSolana])).toMatchObject({
      supportedChains: ['base'],
      networks: ['eip155:8453'],
    });
    expect(read(options)).toMatchObject({
      supportedChains: ['base', 'solana'],
      networks: ['eip155:8453', 'solana'],
    });
    expect(credentialRequired(asked, [baseOption, unpaidSolana]).body).not.toContain(solana.payTo);
  });

  it('is told how to pay on Base, wherever Base stands in the list', () => {
    for (const ways of [options, options.toReversed()]) {
      const { topUpInstructions } = read(ways);
      expect(topUpInstructions).toMatchObject({
        network: 'eip155:8453',
        receiverWallet: PAY_TO,
        tokenAddress: USDC,
      });
      expect(Object.keys(topUpInstructions)).toHaveLength(8);
    }
    expect(read([solana]).topUpInstructions).toMatchObject({
      network: solana.network,
      receiverWallet: solana.payTo,
    });
  });

  it('is asked to come back while nothing can be paid on: a 402 would be answered for ever', () => {
    for (const ways of [[], [unpaidSolana]]) {
      expect(() => creditRequired(asked, ways, 0n)).toThrow(
        expect.objectContaining({ code: 'unavailable', retryAfterSeconds: 2 }),
      );
    }
  });

  it('finds another object in the header, for x402 clients', () => {
    expect(headerJson(header)).toEqual({
      x402Version: 2,
      error: 'Payment required',
      resource: { url: URL_OF_RESOURCE, description: 'Venice API', mimeType: 'application/json' },
      accepts: suggested,
      extensions: { 'sign-in-with-x': challenge },
    });
  });
});

describe('@x402/core and @x402/extensions 2.27.0', () => {
  const documents = {
    discovery: credentialRequired(asked, [baseOption]),
    'the read routes': credentialRequired(asked),
    'low balance': creditRequired(asked, [baseOption], 0n),
  };

  it.each(Object.entries(documents))('read and answer the document of %s', async (_, { header }) => {
    const parsed = PaymentRequiredV2Schema.safeParse(headerJson(header));
    // Their schema wants a way to pay; their clients answer the challenge all the same.
    const { accepts } = headerJson(header) as { accepts: unknown[] };
    expect(parsed.success).toBe(accepts.length > 0);

    const context = { paymentRequired: headerJson(header), requestUrl: URL_OF_RESOURCE };
    const evm = await createSIWxClientHook(account)(context as never);
    expect(await checkWalletProof(evm?.headers['sign-in-with-x'] ?? '', checks)).toMatchObject({
      wallet: WALLET,
      chain: 'eip155:8453',
    });
    const { address, sign } = solanaWallet(1);
    const signMessage = async (bytes: Uint8Array) => new Uint8Array(sign(Buffer.from(bytes).toString()));
    const bySolana = await createSIWxClientHook({ publicKey: address, signMessage })(context as never);
    expect(await checkWalletProof(bySolana?.headers['sign-in-with-x'] ?? '', checks)).toMatchObject({
      wallet: address,
      chain: solana.network,
    });
  });

  it('sign nothing for another origin', async () => {
    const { header } = credentialRequired(asked, [baseOption]);
    const context = { paymentRequired: headerJson(header), requestUrl: 'https://gw.example.com/api' };
    expect(await createSIWxClientHook(account)(context as never)).toBeUndefined();
  });

  it('retry by wrapFetchWithSIWx where there are prices, and not where there are none', async () => {
    const answers = async (header: string) => {
      const proofs: (string | null)[] = [];
      const serve: typeof fetch = async input => {
        proofs.push((input as Request).headers.get('sign-in-with-x'));
        const response = new Response('{}', { status: 402, headers: { 'payment-required': header } });
        Object.defineProperty(response, 'url', { value: URL_OF_RESOURCE });
        return proofs.at(-1) === null ? response : new Response('{}');
      };
      await wrapFetchWithSIWx(serve, account)(URL_OF_RESOURCE, { method: 'POST' });
      return proofs;
    };
    const [first, second] = await answers(documents.discovery.header);
    expect(first).toBeNull();
    expect(await checkWalletProof(second ?? '', checks)).toMatchObject({ wallet: WALLET });
    expect(await answers(documents['the read routes'].header)).toEqual([null]);
  });
});

it('X-Balance-Remaining has six decimals and never more than there is', () => {
  expect(balanceRemaining(4_230_000_000n)).toBe('4.230000');
  expect(balanceRemaining(0n)).toBe('0.000000');
  expect(balanceRemaining(999n)).toBe('0.000000');
  expect(balanceRemaining(1_999n)).toBe('0.000001');
  expect(balanceRemaining(12_345_678_901_234n)).toBe('12345.678901');
});
