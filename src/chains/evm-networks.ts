import type { DepthRule } from '../lib/confirmations.ts';
import { NANO_PER_USD } from '../lib/money.ts';

/** An EVM network is this row of data and nothing else: no code path knows a network by name. */
export interface EvmNetwork {
  /** CAIP-2. */
  network: string;
  chainId: number;
  /** Name in x402 version 1 and in dialects that use short names. */
  alias: string;
  title: string;
  /** Whether its money is real; a constraint in the database keeps the two apart. */
  environment: 'live' | 'test';
  usdc: { address: string; decimals: number; name: string; version: string };
  /** The setting that holds its RPC URL. */
  rpcSetting: 'BASE_RPC_URL' | 'BASE_SEPOLIA_RPC_URL';
  /** How long a signed authorization is offered to be valid. */
  maxTimeoutSeconds: number;
  /** How deep a transfer must be before it is credited, unless a setting says otherwise. */
  confirmations: readonly DepthRule[];
  blockTimeMs: number;
  /** How far back a transfer made by somebody else is searched, and how many blocks one query may span. */
  lookbackBlocks: bigint;
  logRangeBlocks: bigint;
  /** USDC's transferWithAuthorization needs about 86,000 gas with a key, more with a contract wallet. */
  settleGas: bigint;
  /** A gas price above this, in wei, is taken for a mistake of the node. */
  maxGasPriceWei: bigint;
}

const BASE: EvmNetwork = {
  network: 'eip155:8453',
  chainId: 8453,
  alias: 'base',
  title: 'Base',
  environment: 'live',
  usdc: {
    address: '0x833589fcd6edb6e08f4c7c32d4f71b54bda02913',
    decimals: 6,
    name: 'USD Coin',
    version: '2',
  },
  rpcSetting: 'BASE_RPC_URL',
  maxTimeoutSeconds: 300,
  confirmations: [
    { fromNanoUsd: 0n, depth: 1 },
    { fromNanoUsd: 1_000n * NANO_PER_USD, depth: 10 },
    { fromNanoUsd: 10_000n * NANO_PER_USD, depth: 'final' },
  ],
  blockTimeMs: 2_000,
  lookbackBlocks: 5_000n,
  logRangeBlocks: 1_000n,
  settleGas: 300_000n,
  maxGasPriceWei: 100_000_000_000n,
};

/** Its USDC has another EIP-712 name than Base's: a payment signed for one never fits the other. */
const BASE_SEPOLIA: EvmNetwork = {
  ...BASE,
  network: 'eip155:84532',
  chainId: 84_532,
  alias: 'base-sepolia',
  title: 'Base Sepolia',
  environment: 'test',
  usdc: {
    address: '0x036cbd53842c5426634e7929541ec2318f3dcf7e',
    decimals: 6,
    name: 'USDC',
    version: '2',
  },
  rpcSetting: 'BASE_SEPOLIA_RPC_URL',
};

export const EVM_NETWORKS: readonly EvmNetwork[] = [BASE, BASE_SEPOLIA];

/** Finds a network by its CAIP-2 id. */
export function findEvmNetwork(network: string): EvmNetwork | undefined {
  return EVM_NETWORKS.find(n => n.network === network);
}
