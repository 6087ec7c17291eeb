import Fastify, { type FastifyInstance } from 'fastify';
import type { KeyHolder } from '../../../src/accounts/types.ts';
import type { WalletRegistration } from '../../../src/accounts/wallet-keys.ts';
import type { ChannelMessage } from '../../../src/customers/channel-messages.ts';
import { DEFAULT_CELL } from '../../../src/db/queryable.ts';
import { DRIA_PREFIX, type DriaOptions, driaDialect } from '../../../src/dialects/dria/index.ts';
import { compileSchema } from '../../../src/http/validator.ts';
import { encodeBase64Json } from '../../../src/lib/base64.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import type { PaymentState } from '../../../src/payments/payment.ts';
import type { PaymentOption, TopupOutcome, TopupRequest } from '../../../src/topups/types.ts';

export const PAY_TO = '0x52908400098527886e0f7030069857d2e4169ee7';
export const PAYER = '0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a';
export const TRANSACTION = `0x${'9d'.repeat(32)}`;
export const NOW_MS = Date.UTC(2026, 10, 20, 18, 0, 0);
export const ORIGIN = 'https://gateway.example';
export const LIVE_KEY = `dkn_live_${'a1B2'.repeat(10)}`;
export const TEST_KEY = `dkn_test_${'a1B2'.repeat(10)}`;

export const base: PaymentOption = {
  scheme: 'exact',
  network: 'eip155:8453',
  networkAlias: 'base',
  environment: 'live',
  asset: '0x833589fcd6edb6e08f4c7c32d4f71b54bda02913',
  assetDecimals: 6,
  payTo: PAY_TO,
  maxTimeoutSeconds: 300,
  extra: { name: 'USD Coin', version: '2' },
};

export const baseSepolia: PaymentOption = {
  ...base,
  network: 'eip155:84532',
  networkAlias: 'base-sepolia',
  environment: 'test',
  asset: '0x036cbd53842c5426634e7929541ec2318f3dcf7e',
  extra: { name: 'USDC', version: '2' },
};

const HOLDERS: Readonly<Record<string, KeyHolder>> = {
  [LIVE_KEY]: {
    keyId: 'key-1',
    customer: { customerId: 'customer-1', accountId: 1n, cell: DEFAULT_CELL },
    environment: 'live',
  },
  [TEST_KEY]: {
    keyId: 'key-2',
    customer: { customerId: 'customer-2', accountId: 2n, cell: DEFAULT_CELL },
    environment: 'test',
  },
};

export interface DriaFixture {
  app: FastifyInstance;
  /** Every payment that reached the use case. */
  requests: TopupRequest[];
  /** What becomes of the next payments. */
  outcome: (request: TopupRequest) => TopupOutcome | Promise<TopupOutcome>;
  /** What is known of the presented payment already. */
  state: PaymentState | undefined;
  hasPending: boolean;
  availableNanoUsd: bigint;
  registrations: WalletRegistration[];
  messages: (ChannelMessage & { environment: string; avatarUrl: string | undefined })[];
  /** Where callers seemed to come from. */
  callers: string[];
}

/**
 * The routes over the smallest possible world: two keys, one balance, payments that become what the test
 * says. What the real parts do is tested with the real parts.
 */
export async function driaApp(changes: Partial<DriaOptions> = {}, logLines?: string[]): Promise<DriaFixture> {
  const app = Fastify({
    logger: logLines ? { level: 'info', stream: { write: line => logLines.push(line) } } : false,
  });
  const fixture: DriaFixture = {
    app,
    requests: [],
    outcome: credited,
    state: undefined,
    hasPending: false,
    availableNanoUsd: 7_350_000_000n,
    registrations: [],
    messages: [],
    callers: [],
  };
  app.setValidatorCompiler(compileSchema);
  await app.register(driaDialect, {
    prefix: DRIA_PREFIX,
    apiKeys: {
      async authenticate({ apiKey, callerAddress }) {
        fixture.callers.push(callerAddress);
        const holder = HOLDERS[apiKey ?? ''];
        if (holder) return holder;
        throw new GatewayError('unauthorized', 'the API key is missing or not valid');
      },
    },
    walletKeys: {
      async register(registration) {
        fixture.registrations.push(registration);
        return { apiKey: LIVE_KEY, wallet: registration.proof.address.toLowerCase() };
      },
    },
    credit: { available: async () => fixture.availableNanoUsd },
    channels: {
      async post(author, message) {
        const stored = {
          id: `message-${fixture.messages.length + 1}`,
          author: author.customer.customerId,
          createdAt: new Date(NOW_MS),
          ...message,
          authorName: message.authorName ?? 'somebody',
          environment: author.environment,
        };
        fixture.messages.push(stored);
        return stored;
      },
      list: async ({ environment, channel, limit }) =>
        fixture.messages.filter(m => m.environment === environment && m.channel === channel).slice(0, limit),
    },
    topups: {
      topUp: async request => {
        fixture.requests.push(request);
        return fixture.outcome(request);
      },
    },
    paymentLookups: {
      hasPending: async () => fixture.hasPending,
      stateOf: async () => fixture.state,
    },
    paymentOptions: [base, baseSepolia],
    publicOrigin: ORIGIN,
    rateLimits: false,
    clock: { nowMs: () => NOW_MS },
    ...changes,
  });
  return fixture;
}

/** The credit of a payment for an account that had 7.35 USD. */
export function credited({ payment }: TopupRequest): TopupOutcome {
  return {
    kind: 'credited',
    paymentId: 'payment-1',
    amountNanoUsd: payment.amountBaseUnits * 1000n,
    balanceNanoUsd: payment.amountBaseUnits * 1000n + 7_350_000_000n,
    network: payment.network,
    payer: payment.payer,
    transaction: TRANSACTION,
    replayed: false,
  };
}

export const nowSeconds = BigInt(NOW_MS / 1000);

export interface Authorization {
  from: string;
  to: string;
  value: string;
  validAfter: string;
  validBefore: string;
  nonce: string;
}

/** A payment of 25 USDC as version 1 clients send it. */
export function paymentOf(changes: Partial<Record<keyof Authorization, unknown>> = {}, root: object = {}) {
  return {
    x402Version: 1,
    scheme: 'exact',
    network: 'base',
    payload: {
      signature: `0x${'cd'.repeat(65)}`,
      authorization: {
        from: PAYER,
        to: PAY_TO,
        value: '25000000',
        validAfter: `${nowSeconds - 600n}`,
        validBefore: `${nowSeconds + 300n}`,
        nonce: `0x${'ab'.repeat(32)}`,
        ...changes,
      },
    },
    ...root,
  };
}

/** The same payment as version 2 clients send it. */
export function secondVersion(changes: Partial<Record<keyof Authorization, unknown>> = {}) {
  const { payload } = paymentOf(changes);
  const { scheme, network, asset, payTo, maxTimeoutSeconds, extra } = base;
  const accepted = { scheme, network, amount: '25000000', asset, payTo, maxTimeoutSeconds, extra };
  return { x402Version: 2, payload, accepted, resource: { url: `${ORIGIN}/v1/credits/topup` } };
}

/** Calls the top-up route, paying when a payment is given. */
export function topUp(
  { app }: DriaFixture,
  options: {
    body?: unknown;
    key?: string | undefined;
    payment?: unknown;
    header?: string;
    headers?: Record<string, string>;
  } = {},
) {
  const { payment, header = 'X-PAYMENT' } = options;
  const key = 'key' in options ? options.key : LIVE_KEY;
  const { body = { amount: '25' } } = options;
  return app.inject({
    method: 'POST',
    url: '/v1/credits/topup',
    headers: {
      'content-type': 'application/json',
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
      ...(payment !== undefined && {
        [header]: typeof payment === 'string' ? payment : encodeBase64Json(payment),
      }),
      ...options.headers,
    },
    payload: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

/** Decodes a header that carries standard padded base64 of JSON. */
export function headerJson(value: unknown): unknown {
  if (typeof value !== 'string' || !/^[A-Za-z0-9+/]+={0,2}$/.test(value) || value.length % 4 !== 0) {
    throw new Error('the header is not standard base64');
  }
  return JSON.parse(Buffer.from(value, 'base64').toString('utf8'));
}
