import type { FastifyInstance } from 'fastify';
import { type PrivateKeyAccount, privateKeyToAddress } from 'viem/accounts';
import { findEvmNetwork } from '../../../src/chains/evm-networks.ts';
import { type LocalEvmChain, startLocalEvmChain } from '../../../src/local/evm-chain.ts';
import type { Environment } from '../../../src/ports/environment.ts';
import { startGateway, type TestGateway, type TestGatewayOptions } from '../../support/gateway.ts';
import { paymentHeader, type SignedPayment, signPayment } from '../../support/payment.ts';

export const SEPOLIA_USDC = '0x036CbD53842c5426634e7929541eC2318f3dCF7e';

/** What a payer signs on Base Sepolia. */
export const SEPOLIA_DOMAIN = { name: 'USDC', chainId: 84_532, verifyingContract: SEPOLIA_USDC } as const;

/** A local Base Sepolia that only this file uses. */
export function startSepolia(): Promise<LocalEvmChain> {
  const network = findEvmNetwork('eip155:84532');
  if (!network) throw new Error('Base Sepolia is not in the table of networks');
  return startLocalEvmChain({ chainId: network.chainId, token: network.usdc, log: () => undefined });
}

/** A gateway that takes money on both networks. */
export async function startDriaGateway(
  sepolia: LocalEvmChain,
  options: TestGatewayOptions = {},
): Promise<TestGateway> {
  const gateway = await startGateway({
    ...options,
    settings: {
      NETWORKS: 'eip155:8453,eip155:84532',
      BASE_SEPOLIA_RPC_URL: sepolia.rpcUrl,
      ...options.settings,
    },
  });
  const gasKey = gateway.config.evmPrivateKeys[0] as `0x${string}`;
  await sepolia.fundGas(privateKeyToAddress(gasKey), 10n ** 20n);
  return gateway;
}

/** A key of a new customer. */
export async function createKey(
  gateway: TestGateway,
  { environment = 'live', balanceNanoUsd = 0n }: { environment?: Environment; balanceNanoUsd?: bigint } = {},
): Promise<string> {
  const { apiKey } = await gateway.services.createFundedKey({ dialect: 'dria', environment, balanceNanoUsd });
  return apiKey;
}

/** Signs a payment of whole dollars as version 1 clients do. */
export async function signDria(
  payer: PrivateKeyAccount,
  { payTo }: TestGateway,
  usd: bigint,
  options: Parameters<typeof signPayment>[3] = {},
): Promise<SignedPayment> {
  return signPayment(payer, payTo, usd * 1_000_000n, options);
}

export interface TopupCall {
  key: string;
  amount: string;
  payment?: SignedPayment | undefined;
  /** The name that version 1 has for the network. */
  network?: string;
}

export function topUp(app: FastifyInstance, { key, amount, payment, network = 'base' }: TopupCall) {
  const header = payment && paymentHeader(payment, { x402Version: 1, network });
  return app.inject({
    method: 'POST',
    url: '/v1/credits/topup',
    headers: { authorization: `Bearer ${key}`, ...(header !== undefined && { 'x-payment': header }) },
    payload: JSON.stringify({ amount }),
  });
}

/** The balance as the owner of a key reads it. */
export async function balanceOf(app: FastifyInstance, key: string): Promise<unknown> {
  const answer = await app.inject({
    url: '/v1/credits/balance',
    headers: { authorization: `Bearer ${key}` },
  });
  return answer.json();
}
