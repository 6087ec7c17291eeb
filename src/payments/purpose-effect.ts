import type { Queryable } from '../db/queryable.ts';
import type { Environment } from '../ports/environment.ts';
import type { Purpose, PurposeResult } from './payment.ts';

/** A payment that is being credited, as the effect of its purpose needs it. */
export interface AppliedPurchase {
  paymentId: string;
  environment: Environment;
  purpose: Purpose;
}

/**
 * What a purpose does outside the cell, in the transaction that credits the payment: never more than a few
 * statements by key, and nothing that leaves the database.
 * @returns what to add to the stored result of the purchase
 */
export type PurposeEffect = (db: Queryable, purchase: AppliedPurchase) => Promise<PurposeResult>;
