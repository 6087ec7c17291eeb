import type { ExactPayment } from './payment.ts';

/** Why a facilitator would not settle a payment; `reason` is an x402 error code. */
export type VerifyResult =
  | { kind: 'valid' }
  | { kind: 'invalid'; reason: string; message: string }
  /** The permission is consumed on chain already: only the chain's logs tell by whom and to what effect. */
  | { kind: 'already_used' };

/** What is known after asking for settlement. Only the chain decides whether money moved. */
export type SettleResult =
  /** Sent; `transaction` is where to look. */
  | { kind: 'submitted'; transaction: string }
  /** Provably nothing was sent. */
  | { kind: 'not_submitted'; reason: string; message: string }
  /** Anything else: a lost answer, a time-out, an unknown code. */
  | { kind: 'unknown'; message: string };

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
  settle(paymentId: string, payment: ExactPayment): Promise<SettleResult>;
}
