import { type Customer, resolveWallet } from '../customers/customers.ts';
import type { Queryable } from '../db/queryable.ts';
import { GatewayError } from '../lib/errors.ts';
import { findClaim } from '../payments/payment-claim.ts';
import type { Purchase, TopupRequest } from './types.ts';

/** Whose credit a payment is. */
export interface Owners {
  /** The caller's customer where the dialect knows one, else the paying wallet's own. */
  ownerOf(request: TopupRequest): Promise<Customer>;
  /** The paying wallet's own customer. */
  payerOf(request: Pick<TopupRequest, 'environment' | 'payment'>): Promise<Customer>;
  /**
   * The caller's account, when the payment was claimed for it and never stored because the process that took it died in
   * between. A claim is made only for a payment that is good and not on the chain yet, so its account had it while it
   * was a secret, and is owed what it would have got. Nobody becomes an owner by showing it: what is returned is the
   * claim's account or nothing.
   */
  claimantOf(request: TopupRequest): Promise<Customer | undefined>;
}

export function createOwners(db: Queryable): Owners {
  const payerOf: Owners['payerOf'] = ({ environment, payment }) =>
    resolveWallet(db, { environment, network: payment.network, address: payment.payer });

  return {
    payerOf,
    async ownerOf(request) {
      return request.customer ?? (await payerOf(request));
    },
    async claimantOf({ payment, environment, customer, purchase }) {
      const claim = await findClaim(db, payment.identity);
      if (claim?.accountId === undefined || claim.environment !== environment) return undefined;
      const caller = customer ?? (await buyerOf(purchase));
      return caller?.accountId === claim.accountId ? caller : undefined;
    },
  };
}

/** Whom a purchase is for; undefined when its rules forbid it by now. */
async function buyerOf(purchase: Purchase | undefined): Promise<Customer | undefined> {
  try {
    return (await purchase?.prepare())?.customer;
  } catch (error) {
    if (error instanceof GatewayError && error.code !== 'unavailable') return undefined;
    throw error;
  }
}
