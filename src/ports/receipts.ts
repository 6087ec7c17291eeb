import type { ObservedTransfer } from './chain.ts';

/**
 * Everything that arrived at one receiver, read independently of what we know of payments. Every call has a
 * deadline and throws `unavailable` when the node does not answer.
 */
export interface ReceiptScan {
  /** CAIP-2. */
  readonly network: string;
  /** Token and receiver in canonical form. */
  readonly asset: string;
  readonly payTo: string;
  /** How many blocks one call of `list` may span. */
  readonly rangeBlocks: bigint;
  /** The newest block, and the newest of those that cannot be undone. */
  heads(): Promise<{ newest: bigint; final: bigint }>;
  /** Transfers of the asset to the receiver in these blocks, both ends included, in the chain's order. */
  list(fromBlock: bigint, toBlock: bigint): Promise<ObservedTransfer[]>;
  /** Identity of the signed permission that caused a transfer; undefined when the chain does not tell. */
  identify(transfer: ObservedTransfer): Promise<string | undefined>;
}
