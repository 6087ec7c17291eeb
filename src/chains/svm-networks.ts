import type { DepthRule } from '../lib/confirmations.ts';
import { NANO_PER_USD } from '../lib/money.ts';
import { TOKEN_PROGRAM } from '../lib/svm-token.ts';

/** What a payer may make us pay for and sign; everything above is refused. */
export interface SvmLimits {
  /** A token transfer with memo needs about 20,000, with a wallet's own assertions up to ten times that. */
  maxComputeUnits: number;
  /** Priority fee per compute unit, in micro-lamports. */
  maxComputeUnitPrice: bigint;
  /** The fee payer's included; each costs 5,000 lamports. */
  maxSignatures: number;
}

/** A Solana network is this row of data and nothing else: no code path knows a network by name. */
export interface SvmNetwork {
  /** CAIP-2; its reference is the beginning of the genesis hash. */
  network: string;
  /** Name in x402 version 1 and in dialects that use short names. */
  alias: string;
  title: string;
  /** Whether its money is real; a constraint in the database keeps the two apart. */
  environment: 'live' | 'test';
  /** The one mint that is accepted and the program it belongs to, which may be Token or Token-2022. */
  usdc: { address: string; decimals: number; tokenProgram: string; name: string; version: string };
  /** The setting that holds its RPC URL. */
  rpcSetting: 'SOLANA_RPC_URL';
  /** A blockhash lives for about a minute, so a longer offer could not be kept. */
  maxTimeoutSeconds: number;
  /**
   * How deep a transfer must be before it is credited, unless a setting says otherwise. 1: the block is
   * confirmed, by two thirds of the stake; `final`: it is finalized.
   */
  confirmations: readonly DepthRule[];
  slotMs: number;
  limits: SvmLimits;
  /** Slots back in which a payment that is shown to us now could have been settled by somebody else. */
  lookbackSlots: bigint;
  /** Below this many lamports the fee payer is about to run dry. */
  minFeePayerLamports: bigint;
}

const SOLANA: SvmNetwork = {
  network: 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp',
  alias: 'solana',
  title: 'Solana',
  environment: 'live',
  usdc: {
    address: 'EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v',
    decimals: 6,
    tokenProgram: TOKEN_PROGRAM,
    name: 'USD Coin',
    version: '2',
  },
  rpcSetting: 'SOLANA_RPC_URL',
  maxTimeoutSeconds: 60,
  confirmations: [
    { fromNanoUsd: 0n, depth: 1 },
    { fromNanoUsd: 1_000n * NANO_PER_USD, depth: 'final' },
  ],
  slotMs: 400,
  limits: { maxComputeUnits: 200_000, maxComputeUnitPrice: 100_000n, maxSignatures: 2 },
  lookbackSlots: 1_000n,
  minFeePayerLamports: 10_000_000n,
};

export const SVM_NETWORKS: readonly SvmNetwork[] = [SOLANA];

/** Finds a network by its CAIP-2 id. */
export function findSvmNetwork(network: string): SvmNetwork | undefined {
  return SVM_NETWORKS.find(n => n.network === network);
}
