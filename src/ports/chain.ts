import type { ExactPayment } from './payment.ts';

/** A transfer of the payment's asset to the receiver that the chain itself reports. */
export interface ObservedTransfer {
  network: string;
  /** Transaction hash (EVM, lower-case hex) or signature (Solana, base58). */
  transaction: string;
  /** Position inside the transaction; with network and transaction it names the transfer. */
  logIndex: number;
  blockNumber: bigint;
  blockHash: string;
  asset: string;
  from: string;
  to: string;
  amountBaseUnits: bigint;
}

/** Where a transfer was when it was credited. The block's hash is missing for credit of older versions. */
export interface TransferPlace {
  transaction: string;
  logIndex: number;
  blockNumber: bigint;
  blockHash: string | undefined;
}

/**
 * final: it stands and cannot be undone. standing: it is where it was. moved: its block is not part of the
 * chain any more; the transfer may be in another one, or nowhere. unknown: the node cannot tell yet.
 */
export type Standing = 'final' | 'standing' | 'moved' | 'unknown';

/** What the chain proves about one payment. */
export type SettlementProof =
  /** The money arrived; `confirmations` counts the transfer's own block as one, and may stop at the hint's. */
  | { kind: 'transferred'; transfer: ObservedTransfer; confirmations: number }
  /**
   * It can never arrive: cancelled, expired unused for good, its nonce spent on another receiver, or executed
   * once and failed where nothing can be executed twice.
   */
  | {
      kind: 'impossible';
      reason: 'cancelled' | 'expired' | 'used_elsewhere' | 'failed_on_chain';
      transaction?: string;
    }
  /** Our transaction was mined and reverted; anybody may still use the permission until then (Unix ms). */
  | { kind: 'reverted'; transaction: string; usableUntilMs: number }
  /**
   * Not known yet. `used` says that the permission is consumed on chain but its transfer was not found; `transaction` is
   * the one that consumes it, where that was found and proves nothing yet.
   */
  | { kind: 'unknown'; used: boolean; transaction?: string };

/** Where to look for a settlement. */
export interface ProofHint {
  /** Our own transactions that may carry the transfer. */
  transactions: readonly string[];
  /**
   * Transactions that somebody else named: a short way to the transfer. They may be replaced or made up, so that
   * the search does not wait for them, and the failure of one that is not about this payment proves nothing.
   */
  reported?: readonly string[];
  /** One of our transactions that surely is what the payer has signed, so that its success is the payment's. */
  signed?: string;
  /** The facilitator says that the money moved. No proof, and only where there is no node it is all that is known. */
  saidSettled?: boolean;
  /** First block in which the transfer could be. */
  fromBlock: bigint;
  /** Confirmations that the caller waits for; 1 when absent. The chain need not count further. */
  confirmations?: number;
}

/** Reads of one network. Every call has a deadline and throws `unavailable` when the node does not answer. */
export interface Chain {
  readonly network: string;
  /** Reads what the chain knows about this payment; never guesses. */
  proveSettlement(payment: ExactPayment, hint: ProofHint): Promise<SettlementProof>;
  /** Whether credited transfers are still where they were; cheap for many that share blocks. One answer each. */
  standing(places: readonly TransferPlace[]): Promise<Standing[]>;
  /**
   * Number of the newest block or one a second older, remembered when a payment is accepted as the start of later
   * searches. For a payment that lives for a number of blocks it is one at which that payment is surely alive.
   */
  currentBlock(payment?: ExactPayment): Promise<bigint>;
  /** First block that a payment shown to us now could have been settled in by somebody else. */
  earliestSettlementBlock(currentBlock: bigint): bigint;
  /** Checks that the node serves this network and this token; each problem names the setting to change. */
  checkSetup(): Promise<string[]>;
}
