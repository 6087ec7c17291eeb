import type { ObservedTransfer } from './chain.ts';

/** What every way to list receipts has in common. */
interface ReceiptSource {
  /** CAIP-2. */
  readonly network: string;
  /** Token and receiver in canonical form. */
  readonly asset: string;
  readonly payTo: string;
  /** The newest block, and the newest of those that cannot be undone. */
  heads(): Promise<{ newest: bigint; final: bigint }>;
  /** Identity of the signed permission that caused a transfer; undefined when the chain does not tell. */
  identify(transfer: ObservedTransfer): Promise<string | undefined>;
}

/** A node that can be asked about any blocks. */
export interface ForwardScan extends ReceiptSource {
  /** How many blocks one call of `list` may span. */
  readonly rangeBlocks: bigint;
  /** Transfers of the asset to the receiver in these blocks, both ends included, in the chain's order. */
  list(fromBlock: bigint, toBlock: bigint): Promise<ObservedTransfer[]>;
}

/** A node that lists from the newest on only. */
export interface BackwardScan extends ReceiptSource {
  /** One page of what arrived in these blocks, both ends included, beginning with the newest. */
  pageBack(range: {
    fromBlock: bigint;
    toBlock: bigint;
    /** As the last page gave it; undefined for the first. */
    next: string | undefined;
    /** A block that the node must have seen. */
    seen: bigint;
  }): Promise<ReceiptPage>;
}

export interface ReceiptPage {
  /** In the chain's order. */
  transfers: ObservedTransfer[];
  /** From this block on the page holds everything, up to the end that was asked for. */
  fromBlock: bigint;
  /** Where to go on; undefined when the page reaches down to the first block that was asked for. */
  next: string | undefined;
}

/**
 * Everything that arrived at one receiver, read independently of what we know of payments. Every call has a
 * deadline and throws `unavailable` when the node does not answer.
 */
export type ReceiptScan = ForwardScan | BackwardScan;
