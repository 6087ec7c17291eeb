import type { ExactPayment } from './payment.ts';

/** Why a facilitator would not settle a payment; `reason` is an x402 error code. */
export type VerifyResult =
  | { kind: 'valid' }
  | { kind: 'invalid'; reason: string; message: string }
  /**
   * The permission is consumed on chain already: only the chain tells by whom and to what effect. `reason` is
   * the x402 code for a payment that turns out not to have come to us.
   */
  | { kind: 'already_used'; reason: string };

/** What is known after asking for settlement. Only the chain decides whether money moved. */
export type SettleResult =
  /** Sent; `transaction` is where to look. */
  | { kind: 'submitted'; transaction: string }
  /** Provably nothing was sent. */
  | { kind: 'not_submitted'; reason: string; message: string }
  /** Anything else: a lost answer, a time-out, an unknown code. */
  | { kind: 'unknown'; message: string };

/** Transactions that a facilitator has made for a payment. */
export interface OwnTransactions {
  /** Every one; any of them can be the one that moved the money. */
  all: readonly string[];
  /** Those that nothing has taken the place of: only their failure says something about the payment. */
  live: readonly string[];
}

/**
 * Verifies and settles exact payments. Local refusals are values; a chain or facilitator that cannot be
 * reached in `verify` throws `unavailable`, never "invalid". `settle` never throws: what it cannot tell is
 * `unknown`.
 */
export interface Facilitator {
  readonly name: string;
  supports(network: string): boolean;
  /** Checks the signature alone, without any outside call, so that a replay can be told from a forgery. */
  verifySignature(payment: ExactPayment): Promise<boolean>;
  verify(payment: ExactPayment): Promise<VerifyResult>;
  /**
   * Refuses a new payment while it could not be settled in time. To be asked before the payment is claimed.
   * @throws unavailable
   */
  checkCapacity(network: string): Promise<void>;
  /**
   * Submits the payment, or submits again what was made of it before: safe to repeat. A payment that can not be
   * executed in time any more is `not_submitted`.
   */
  settle(paymentId: string, payment: ExactPayment): Promise<SettleResult>;
  /** What it remembers of its work on a payment, also from before a crash; nothing for a remote one. */
  transactionsOf(paymentId: string, network: string): Promise<OwnTransactions>;
}
