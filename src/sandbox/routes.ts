import type { FastifyPluginAsync } from 'fastify';
import { type Static, Type } from 'typebox';
import { GatewayError } from '../lib/errors.ts';
import { nanoToBaseUnits, parseUsd } from '../lib/money.ts';

/** A local chain as the sandbox controls it. */
export interface SandboxNetwork {
  /** CAIP-2. */
  network: string;
  rpcUrl: string;
  asset: string;
  assetDecimals: number;
  payTo: string;
  /** @returns the one spelling of an address, undefined for what is none here. */
  canonicalAddress(text: string): string | undefined;
  /** Creates test dollars, and what the wallet needs to use them. @returns the transaction, after inclusion. */
  fund(address: string, amountBaseUnits: bigint): Promise<string>;
}

export interface SandboxKeyOrder {
  environment: 'live' | 'test';
  /** What the dialect's accounts open with when absent. */
  balanceNanoUsd?: bigint;
}

export interface SandboxKey {
  apiKey: string;
  customerId: string;
  environment: 'live' | 'test';
}

export interface SandboxOptions {
  publicOrigin: string;
  databaseUrl: string;
  networks: readonly SandboxNetwork[];
  /** Makes a key of a new customer with that much credit, by the dialect that takes the key. */
  apiKeys: Readonly<Record<string, (order: SandboxKeyOrder) => Promise<SandboxKey>>>;
  /** Empties database and chains together. */
  reset: () => Promise<void>;
}

/** A million dollars is enough for any test. */
const MAX_NANO_USD = 1_000_000_000_000_000n;

const Info = Type.Object(
  {
    publicOrigin: Type.String(),
    networks: Type.Array(
      Type.Object({
        network: Type.String(),
        rpcUrl: Type.String(),
        asset: Type.String(),
        payTo: Type.String(),
      }),
    ),
    databaseUrl: Type.String(),
  },
  { $id: 'SandboxInfo' },
);

const FundRequest = Type.Object(
  {
    network: Type.String({ description: 'CAIP-2 id of a local chain', examples: ['eip155:8453'] }),
    address: Type.String({ description: 'wallet that receives the test dollars' }),
    amountUsd: Type.String({
      description: 'decimal string of US dollars, at most 1000000',
      examples: ['100'],
    }),
  },
  { additionalProperties: false },
);

const Environment = Type.Union([Type.Literal('live'), Type.Literal('test')]);

const KeyRequest = Type.Object(
  {
    dialect: Type.String({ description: 'wire dialect that takes keys', examples: ['dria'] }),
    environment: Type.Optional(
      Type.Union([Environment, Type.Literal('staging')], {
        description: 'live unless said otherwise; staging is read as test',
      }),
    ),
    balanceUsd: Type.Optional(
      Type.String({
        description:
          'credit to start with, decimal string of US dollars, at most 1000000; none when absent, and 1000 for a staging key of aitopup',
      }),
    ),
  },
  { additionalProperties: false },
);

const KeyResult = Type.Object({
  apiKey: Type.String(),
  customerId: Type.String({ format: 'uuid' }),
  environment: Environment,
});

const Refusal = Type.Object({ error: Type.String(), message: Type.String() });

/** Control of the test double: where everything is, test dollars, and a clean slate. Sandbox mode only. */
export const sandboxRoutes: FastifyPluginAsync<SandboxOptions> = (app, options) => {
  const tags = ['sandbox'];

  app.get(
    '/sandbox/v1/info',
    {
      schema: {
        tags,
        operationId: 'getSandboxInfo',
        summary: 'Where everything runs',
        response: { 200: Info },
      },
    },
    () => ({
      publicOrigin: options.publicOrigin,
      networks: options.networks.map(({ network, rpcUrl, asset, payTo }) => ({
        network,
        rpcUrl,
        asset,
        payTo,
      })),
      databaseUrl: options.databaseUrl,
    }),
  );

  app.post<{ Body: Static<typeof FundRequest> }>(
    '/sandbox/v1/fund',
    {
      schema: {
        tags,
        operationId: 'fundWallet',
        summary: 'Put test dollars into a wallet on a local chain',
        body: FundRequest,
        response: { 200: Type.Object({ transaction: Type.String() }), 400: Refusal },
      },
    },
    async request => {
      const { network: name, address, amountUsd } = request.body;
      const network = options.networks.find(n => n.network === name);
      if (!network)
        throw malformed(`network must be one of ${options.networks.map(n => n.network).join(', ')}`);
      const wallet = network.canonicalAddress(address);
      if (wallet === undefined) throw malformed('address is not an address of this network');
      const nanoUsd = parseUsd(amountUsd);
      if (nanoUsd === undefined || nanoUsd === 0n || nanoUsd > MAX_NANO_USD) {
        throw malformed('amountUsd must be a decimal string above 0 and at most 1000000');
      }
      return { transaction: await network.fund(wallet, nanoToBaseUnits(nanoUsd, network.assetDecimals)) };
    },
  );

  app.post<{ Body: Static<typeof KeyRequest> }>(
    '/sandbox/v1/api-keys',
    {
      schema: {
        tags,
        operationId: 'createSandboxApiKey',
        summary: 'Make an API key of a new customer, with credit',
        body: KeyRequest,
        response: { 200: KeyResult, 400: Refusal },
      },
    },
    async request => {
      const { dialect, environment = 'live', balanceUsd } = request.body;
      const makeKey = Object.hasOwn(options.apiKeys, dialect) ? options.apiKeys[dialect] : undefined;
      if (!makeKey) throw malformed(`dialect must be one of ${Object.keys(options.apiKeys).join(', ')}`);
      const balanceNanoUsd = balanceUsd === undefined ? undefined : parseUsd(balanceUsd);
      if (balanceUsd !== undefined && (balanceNanoUsd === undefined || balanceNanoUsd > MAX_NANO_USD)) {
        throw malformed('balanceUsd must be a decimal string of at most 1000000');
      }
      return makeKey({
        environment: environment === 'live' ? 'live' : 'test',
        ...(balanceNanoUsd !== undefined && { balanceNanoUsd }),
      });
    },
  );

  app.post(
    '/sandbox/v1/reset',
    {
      schema: {
        tags,
        operationId: 'resetSandbox',
        summary: 'Empty database and chains',
        response: { 200: Type.Object({ reset: Type.Literal(true) }) },
      },
    },
    async () => {
      await options.reset();
      return { reset: true as const };
    },
  );

  return Promise.resolve();
};

function malformed(message: string): GatewayError {
  return new GatewayError('malformed_request', message);
}
