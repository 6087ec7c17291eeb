import Fastify, { type FastifyInstance } from 'fastify';
import type { Accounts, SignIn, StatementRow } from '../../../src/accounts/types.ts';
import { veniceDialect } from '../../../src/dialects/venice/index.ts';
import { compileSchema } from '../../../src/http/validator.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import type { PaymentOption, TopupOutcome, TopupRequest } from '../../../src/topups/types.ts';

export const USDC = '0x833589fcd6edb6e08f4c7c32d4f71b54bda02913';
export const PAY_TO = '0x2670b922ef37c7df47158725c0cc407b5382293f';
export const PAYER = '0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a';
export const TRANSACTION = `0x${'77'.repeat(32)}`;
export const NOW_MS = Date.UTC(2026, 10, 20, 18, 0, 0);
export const ORIGIN = 'https://gw.example.com:8443';

export const baseOption: PaymentOption = {
  scheme: 'exact',
  network: 'eip155:8453',
  networkAlias: 'base',
  environment: 'live',
  asset: USDC,
  assetDecimals: 6,
  payTo: PAY_TO,
  maxTimeoutSeconds: 300,
  extra: { name: 'USD Coin', version: '2' },
};

export const SOLANA_FEE_PAYER = 'BFK9TLC3edb13K6v4YyH3DwPb5DSUpkWvb7XnqCL9b4F';

/** Solana as the gateway offers it, while somebody pays the fee. */
export const solanaOption = (feePayer: () => string | undefined = () => SOLANA_FEE_PAYER): PaymentOption => ({
  ...baseOption,
  network: 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp',
  networkAlias: 'solana',
  asset: 'EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v',
  payTo: '8qUL23aSj7mDWdoLMXGHFvnVCT9wd7jXcysiekroADEL',
  solana: {
    tokenAccount: 'DQ5JWbJyWdJeyBxZuuyu36sUBud6L6wo3aN1QC1bRmsR',
    tokenProgram: 'TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA',
    feePayer,
  },
});

/** A payment in the older shape that the published client sends. */
export function paymentOf(value: string, changes: object = {}) {
  return {
    x402Version: 2,
    scheme: 'exact',
    network: 'base',
    payload: {
      signature: `0x${'cd'.repeat(65)}`,
      authorization: {
        from: PAYER,
        to: PAY_TO,
        value,
        validAfter: '0',
        validBefore: '1795198000',
        nonce: `0x${'ab'.repeat(32)}`,
      },
    },
    ...changes,
  };
}

export interface VeniceFixture {
  app: FastifyInstance;
  /** Every payment that reached the use case. */
  requests: TopupRequest[];
  /** Replaces what becomes of the next payments. */
  outcome: (request: TopupRequest) => TopupOutcome | Promise<TopupOutcome>;
  balances: Map<string, bigint>;
  rows: StatementRow[];
}

export interface FixtureOptions {
  paymentOptions?: PaymentOption[];
  rateLimits?: boolean;
  signIn?: SignIn;
  accounts?: Accounts;
  /** Collects the log's lines. */
  logLines?: string[];
}

/**
 * The routes over the smallest possible world: a map of balances, and sign-in proofs that read
 * `wallet:<address>`. What the real parts do is tested with the real parts.
 */
export async function veniceApp(options: FixtureOptions = {}): Promise<VeniceFixture> {
  const balances = new Map<string, bigint>();
  const rows: StatementRow[] = [];
  const fixture: Omit<VeniceFixture, 'app'> = {
    requests: [],
    balances,
    rows,
    outcome: ({ payment }) => ({
      kind: 'credited',
      paymentId: 'payment-1',
      amountNanoUsd: payment.amountBaseUnits * 1000n,
      balanceNanoUsd: payment.amountBaseUnits * 1000n + 12_500_000_000n,
      network: payment.network,
      payer: payment.payer,
      transaction: TRANSACTION,
      replayed: false,
    }),
  };
  const accounts: Accounts = {
    walletBalance: async (_network, wallet) => ({ availableNanoUsd: balances.get(wallet) ?? 0n }),
    walletStatement: async (_network, wallet, { limit, offset }) => ({
      balanceNanoUsd: balances.get(wallet) ?? 0n,
      rows: rows.slice(offset, offset + limit),
      hasMore: rows.length > offset + limit,
    }),
  };
  const signIn: SignIn = {
    requireWallet: async header => {
      const wallet = header.startsWith('wallet:') ? header.slice('wallet:'.length) : undefined;
      if (wallet) return { network: 'eip155:8453', wallet };
      throw new GatewayError('proof_invalid', 'bad proof', { details: { reason: 'PARSE_ERROR' } });
    },
  };
  const { logLines } = options;
  const app = Fastify({
    logger: logLines ? { level: 'info', stream: { write: line => logLines.push(line) } } : false,
  });
  app.setValidatorCompiler(compileSchema);
  await app.register(veniceDialect, {
    topups: {
      topUp: async request => {
        result.requests.push(request);
        return result.outcome(request);
      },
    },
    accounts: options.accounts ?? accounts,
    signIn: options.signIn ?? signIn,
    paymentOptions: options.paymentOptions ?? [baseOption],
    publicOrigin: ORIGIN,
    rateLimits: options.rateLimits ?? false,
    clock: { nowMs: () => NOW_MS },
  });
  const result: VeniceFixture = { ...fixture, app };
  return result;
}

/** Decodes a header that carries standard base64 of JSON. */
export function headerJson(value: unknown): unknown {
  if (typeof value !== 'string' || !/^[A-Za-z0-9+/]+={0,2}$/.test(value)) {
    throw new Error('the header is not standard base64');
  }
  return JSON.parse(Buffer.from(value, 'base64').toString('utf8'));
}
