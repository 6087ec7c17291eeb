import type { Environment } from '../ports/environment.ts';
import type { ExactPayment } from '../ports/payment.ts';

/**
 * settling: committed before anything is sent. pending: the request stopped waiting, the outcome is unknown.
 * credited and failed are proven by the chain.
 */
export type PaymentState = 'settling' | 'pending' | 'credited' | 'failed';

export interface Payment {
  paymentId: string;
  accountId: bigint;
  environment: Environment;
  source: string;
  /** Who settles it, and nobody else while it is not known what became of it. */
  facilitator: string;
  /** Whether that facilitator has said that the money moved. */
  saidSettled: boolean;
  signed: ExactPayment;
  state: PaymentState;
  reason: string | undefined;
  fromBlock: bigint;
  transaction: string | undefined;
  creditedNanoUsd: bigint | undefined;
  availableNanoUsd: bigint | undefined;
  createdAt: Date;
  updatedAt: Date;
}

/** True while only the chain can tell what becomes of the payment. */
export function isOpen(payment: Payment): boolean {
  return payment.state !== 'credited' && payment.state !== 'failed';
}
