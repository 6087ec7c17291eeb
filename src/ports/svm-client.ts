export type SvmCommitment = 'processed' | 'confirmed' | 'finalized';

export interface SvmAccount {
  /** The program it belongs to. */
  owner: string;
  lamports: bigint;
  data: Uint8Array;
}

export interface SvmSignatureStatus {
  slot: bigint;
  /** Whether the transaction was executed without error. */
  succeeded: boolean;
  commitment: SvmCommitment;
  /** Blocks on top of its own; undefined when the block is finalized. */
  confirmations: number | undefined;
}

/** A transaction of an account's history. */
export interface SvmHistoryEntry {
  signature: string;
  slot: bigint;
  /** Texts of its memos, as the node lists them; undefined where it has none, or leaves them out of its lists. */
  memo: string | undefined;
}

export interface SvmTokenBalance {
  account: string;
  mint: string;
  owner: string;
  amountBaseUnits: bigint;
}

/** A transaction in a block that is at least confirmed. */
export interface SvmExecutedTransaction {
  slot: bigint;
  succeeded: boolean;
  wire: Uint8Array;
  /** Token accounts that it touched, before and after. */
  before: readonly SvmTokenBalance[];
  after: readonly SvmTokenBalance[];
}

/** What a rehearsal came to. */
export interface SvmSimulation {
  /** The block on whose state it ran. */
  slot: bigint;
  /** The refusal in the node's own words; undefined when the transaction succeeds. */
  error: unknown;
}

/**
 * One Solana node. Every call has a deadline. A node that does not answer, or answers with an error, is
 * `unavailable`: it says nothing about the payment. Addresses and signatures are base58.
 */
export interface SvmClient {
  readonly network: string;
  genesisHash(): Promise<string>;
  /** The newest slot that has this commitment. */
  slot(commitment: SvmCommitment): Promise<bigint>;
  account(address: string): Promise<SvmAccount | undefined>;
  /** Lamports. */
  balance(address: string): Promise<bigint>;
  /** Whether the newest block of this commitment knows and still admits the blockhash, and which block that is. */
  isBlockhashValid(blockhash: string, commitment: SvmCommitment): Promise<{ slot: bigint; valid: boolean }>;
  /**
   * What became of each signature, in order, and the slot at which the node looked.
   * @param searchHistory whether to look further back than the last minutes, which costs the node more
   */
  signatureStatuses(
    signatures: readonly string[],
    searchHistory: boolean,
  ): Promise<{ slot: bigint; statuses: (SvmSignatureStatus | undefined)[] }>;
  /** Confirmed transactions that name an account, newest first; a node behind `minSlot` is unavailable. */
  history(
    address: string,
    page: { limit: number; before?: string; minSlot?: bigint },
  ): Promise<SvmHistoryEntry[]>;
  transaction(signature: string): Promise<SvmExecutedTransaction | undefined>;
  /** The oldest slot whose transactions the node still has. */
  firstAvailableSlot(): Promise<bigint>;
  /** Rehearses a transaction on the newest confirmed block without checking signatures. */
  simulate(wire: Uint8Array): Promise<SvmSimulation>;
  send(wire: Uint8Array): Promise<void>;
}
