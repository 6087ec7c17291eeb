import type { Environment } from '../ports/environment.ts';
import type { ExactPayment } from '../ports/payment.ts';

/**
 * settling: committed before anything is sent. pending: the request stopped waiting, the outcome is unknown.
 * credited and failed are proven by the chain. reversed: it was credited, and a reorganisation undid its transfer;
 * the outcome is open again.
 */
export type PaymentState = 'settling' | 'pending' | 'credited' | 'failed' | 'reversed';

/**
 * What a payment buys, as data on its row: stored before anything is sent and applied in the transaction that
 * credits it, by the function `apply_purpose_<kind>` of the cell.
 */
export interface Purpose {
  readonly kind: string;
  /** Names the purchase: a repetition of the same payment must be for the same terms. */
  readonly terms: string;
  /** What the kind's function reads; amounts are decimal strings. */
  readonly [field: string]: string | number | boolean | undefined;
}

/** The kind of a purchase that the rules forbid after its payer has sent the money; its `reason` may be told. */
export const REFUSED = 'refused';

/** What a purchase came to: part of the stored answer. `unapplied` says why it could not be applied. */
export type PurposeResult = Readonly<Record<string, unknown>>;

export interface Payment {
  paymentId: string;
  accountId: bigint;
  environment: Environment;
  source: string;
  /** Who settles it, and nobody else while it is not known what became of it. */
  facilitator: string;
  /** Whether that facilitator has said that the money moved. */
  saidSettled: boolean;
  /** The chain has shown nothing of it since; `named` is the transaction that the facilitator named. */
  doubt: { since: Date; named: string | undefined } | undefined;
  signed: ExactPayment;
  /** Absent for plain credit. */
  purpose: Purpose | undefined;
  purposeResult: PurposeResult | undefined;
  state: PaymentState;
  reason: string | undefined;
  fromBlock: bigint;
  transaction: string | undefined;
  creditedNanoUsd: bigint | undefined;
  availableNanoUsd: bigint | undefined;
  /** No reorganisation can undo its transfer any more. */
  final: boolean;
  createdAt: Date;
  updatedAt: Date;
}

/** True while only the chain can tell what becomes of the payment. */
export function isOpen(payment: Payment): boolean {
  return payment.state !== 'credited' && payment.state !== 'failed';
}
