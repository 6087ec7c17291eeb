import type { FastifyPluginAsync } from 'fastify';
import { type Static, Type } from 'typebox';
import { GatewayError } from '../lib/errors.ts';
import { canonicalEvmAddress } from '../lib/evm-address.ts';
import { nanoToBaseUnits, parseUsd } from '../lib/money.ts';

/** A local chain as the sandbox controls it. */
export interface SandboxNetwork {
  /** CAIP-2. */
  network: string;
  rpcUrl: string;
  asset: string;
  assetDecimals: number;
  payTo: string;
  /** Creates test dollars. @returns the transaction, after inclusion. */
  mint(address: string, amountBaseUnits: bigint): Promise<string>;
}

export interface SandboxOptions {
  publicOrigin: string;
  databaseUrl: string;
  networks: readonly SandboxNetwork[];
  /** Empties database and chains together. */
  reset: () => Promise<void>;
}

const MAX_FUND_NANO_USD = 1_000_000_000_000_000n;

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
      const wallet = canonicalEvmAddress(address);
      if (wallet === undefined) throw malformed('address is not an address of this network');
      const nanoUsd = parseUsd(amountUsd);
      if (nanoUsd === undefined || nanoUsd === 0n || nanoUsd > MAX_FUND_NANO_USD) {
        throw malformed('amountUsd must be a decimal string above 0 and at most 1000000');
      }
      return { transaction: await network.mint(wallet, nanoToBaseUnits(nanoUsd, network.assetDecimals)) };
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
