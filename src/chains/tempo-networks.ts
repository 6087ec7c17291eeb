import type { DepthRule } from '../lib/confirmations.ts';

/** A Tempo network is this row of data and nothing else. */
export interface TempoNetwork {
  /** CAIP-2. */
  network: string;
  chainId: number;
  title: string;
  environment: 'live' | 'test';
  /** The TIP-20 stablecoin that is taken, in lower case. */
  usdc: { address: string; decimals: number };
  confirmations: readonly DepthRule[];
  blockTimeMs: number;
  /** How many blocks one query of logs may span. */
  logRangeBlocks: bigint;
}

/** A block of Tempo is final when it is made. */
const AT_ONCE: readonly DepthRule[] = [{ fromNanoUsd: 0n, depth: 1 }];

/** Tokens are mppx's defaults, so that a client pays without being told of one. */
export const TEMPO_NETWORKS: readonly TempoNetwork[] = [
  {
    network: 'eip155:4217',
    chainId: 4217,
    title: 'Tempo',
    environment: 'live',
    usdc: { address: '0x20c000000000000000000000b9537d11c60e8b50', decimals: 6 },
    confirmations: AT_ONCE,
    blockTimeMs: 500,
    logRangeBlocks: 1_000n,
  },
  {
    network: 'eip155:42431',
    chainId: 42_431,
    title: 'Tempo testnet',
    environment: 'test',
    usdc: { address: '0x20c0000000000000000000000000000000000000', decimals: 6 },
    confirmations: AT_ONCE,
    blockTimeMs: 500,
    logRangeBlocks: 1_000n,
  },
];

/** Finds a network by its CAIP-2 id. */
export function findTempoNetwork(network: string): TempoNetwork | undefined {
  return TEMPO_NETWORKS.find(each => each.network === network);
}
