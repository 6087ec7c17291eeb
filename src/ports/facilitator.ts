import type { ExactPayment } from './payment.ts';

/** Why a facilitator would not settle a payment; `reason` is an x402 error code. */
export type VerifyResult =
  /** `knownAt`: a block at which the chain would have taken it, where that was seen. */
  | { kind: 'valid'; knownAt?: bigint }
  /**
   * `doubtful`: it may be the facilitator's own trouble, so another one is worth asking. `perhapsUsed`: the same is said of
   * a payment that is on the chain already, so the chain has to be asked before it is refused.
   */
  | { kind: 'invalid'; reason: string; message: string; doubtful?: true; perhapsUsed?: true }
  /**
   * The permission is consumed on chain already: only the chain tells by whom and to what effect. `reason` is
   * the x402 code for a payment that turns out not to have come to us.
   */
  | { kind: 'already_used'; reason: string };

/** What is known after asking for settlement. Only the chain decides whether money moved. */
export type SettleResult =
  /**
   * Sent; `transaction` is where to look. `reported` says that we have it from somebody else, so that it may be
   * replaced or made up, `saidSettled` that the facilitator claims that the money has moved. `signed`: it names what the
   * payer has signed and nothing else, because the name is our own signature over that.
   */
  | { kind: 'submitted'; transaction: string; reported?: true; saidSettled?: true; signed?: true }
  /** Provably this call sent nothing. */
  | { kind: 'not_submitted'; reason: string; message: string }
  /** Anything else: a lost answer, a time-out, an unknown code. */
  | { kind: 'unknown'; message: string; saidSettled?: true };

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
  /** Whether it can settle there; on Solana also with this account as the fee payer. */
  supports(network: string, feePayer?: string): boolean;
  /** The account that pays the fee of a payment offered now; undefined where an offer names none. */
  feePayer(network: string): string | undefined;
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

/** What can be told about a payment without any outside call. */
export interface PaymentChecks {
  verifySignature(payment: ExactPayment): Promise<boolean>;
  /** The refusal of a payment that is expired, not valid yet, or valid for too long; undefined for a good one. */
  checkTerms(payment: ExactPayment): Extract<VerifyResult, { kind: 'invalid' }> | undefined;
}

/** A verdict, and for a valid payment who is to settle it. */
export type RoutedVerifyResult =
  | { kind: 'valid'; facilitator: string; knownAt?: bigint }
  | Exclude<VerifyResult, { kind: 'valid' }>;

/** The facilitators of one network in order of preference, as the payment's life sees them. */
export interface Facilitators {
  verifySignature(payment: ExactPayment): Promise<boolean>;
  /**
   * Asks one after another until one can tell; a valid payment can be settled by the one that is named.
   * @throws unavailable when none can tell
   */
  verify(payment: ExactPayment): Promise<RoutedVerifyResult>;
  /** Settles with the named one and with no other. Never throws. */
  settle(facilitator: string, paymentId: string, payment: ExactPayment): Promise<SettleResult>;
  /** Who may be asked after one that provably sent nothing. */
  nextAfter(facilitator: string, payment: ExactPayment): string | undefined;
  transactionsOf(facilitator: string, paymentId: string, network: string): Promise<OwnTransactions>;
  /** Every facilitator with why it takes no payment of the network now; no trouble means that it does. */
  condition(network: string): Promise<{ name: string; trouble: string | undefined }[]>;
  /** The account that a new payment's fee would be paid with; undefined where an offer names none. */
  feePayer(network: string): string | undefined;
}
