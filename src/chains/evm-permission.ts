import type { ObservedTransfer } from '../ports/chain.ts';
import type { EvmReceipt } from '../ports/evm-client.ts';

/** What became of a permission, as far as one part of the chain tells. */
export type Finding =
  | { kind: 'transferred'; transfer: ObservedTransfer }
  /** Used up without money for us, in this block. */
  | { kind: 'spent'; reason: 'cancelled' | 'used_elsewhere'; block: bigint }
  /** Nothing that is about it; `doubtful` when a transfer was seen that could be its. */
  | { kind: 'nothing'; doubtful?: boolean };

/**
 * One signed permission to move tokens on an EVM chain, as the search for its settlement sees it. Every way of
 * signing (EIP-3009, Permit2) has its own traces on chain; the proof that is made of them is the same.
 */
export interface EvmPermission {
  /** Unix seconds from which on no block can use it. */
  readonly validBefore: bigint;
  /** Whether it is used or given up; by its number at an older block than the newest. */
  isConsumed(block?: bigint): Promise<boolean>;
  /** Whether the call data of a transaction are about it. */
  isIn(callData: string): boolean;
  /** What a transaction that succeeded did with it. */
  readReceipt(receipt: EvmReceipt): Promise<Finding>;
  /** Looks for its use in these blocks, both ends included; a range that one query may span. */
  search(fromBlock: bigint, toBlock: bigint): Promise<Finding>;
  /**
   * Whether a permission that is consumed, and whose blocks were all searched without finding how, counts as
   * spent without money for us. Not where every use is logged: then the node's logs lag behind its state.
   */
  readonly provenByAbsence: boolean;
}
