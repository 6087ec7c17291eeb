import type { Customer } from '../customers/customers.ts';
import { orUnavailable } from '../db/pg-errors.ts';
import type { Queryable } from '../db/queryable.ts';
import type { PaymentState } from '../payments/payment.ts';
import { findClaim } from '../payments/payment-claim.ts';
import { findPayment, hasPendingPayment } from '../payments/payment-store.ts';

/** What a surface must know of earlier payments before it makes an offer or judges a payment. */
export interface PaymentLookups {
  /** Whether the outcome of a payment of this customer is unknown: then it is made no new offer. */
  hasPending(customer: Customer): Promise<boolean>;
  /** State of the payment that was presented under this name before; undefined when none was stored. */
  stateOf(identity: string): Promise<PaymentState | undefined>;
}

/** @throws GatewayError `unavailable` from every look-up while the database is down */
export function createPaymentLookups(db: Queryable): PaymentLookups {
  async function stateOf(identity: string): Promise<PaymentState | undefined> {
    const claim = await findClaim(db, identity);
    return claim && (await findPayment(db, claim.cell, claim.paymentId))?.state;
  }

  return {
    hasPending: ({ cell, accountId }) => orUnavailable(hasPendingPayment(db, cell, accountId)),
    stateOf: identity => orUnavailable(stateOf(identity)),
  };
}
