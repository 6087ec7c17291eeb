import type { CellName, Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import type { Environment } from '../ports/environment.ts';
import type { ExactPayment } from '../ports/payment.ts';
import type { Purpose } from './payment.ts';
import { encodeSigned } from './signed-codec.ts';

export interface NewPayment {
  paymentId: string;
  accountId: bigint;
  environment: Environment;
  source: string;
  facilitator: string;
  signed: ExactPayment;
  fromBlock: bigint;
  /** How long the accepting request alone works on it before the reconciler may. */
  leaseMs: number;
  /** What it buys; plain credit when absent. */
  purpose: Purpose | undefined;
  /** Refuses it when so many payments of its wallet were reverted, at our expense, in the time that has just passed. */
  budget: { maxReverted: number; windowMs: number } | undefined;
}

/** exists: it was stored before. over_budget: it was not stored. */
export type Opening = 'opened' | 'exists' | 'over_budget';

/**
 * Stores accepted payments in state `settling`, opening the accounts that are new; all of them or, with an error, none.
 * Committed before anything is sent.
 * @returns what became of each, in their order
 */
export async function openPayments(
  db: Queryable,
  cell: CellName,
  payments: readonly NewPayment[],
): Promise<Opening[]> {
  const { rows } = await db.query<{ created: boolean; over_budget: boolean }>({
    name: `${cell}.open_payments`,
    text: `SELECT created, over_budget
           FROM "${cell}".open_payments($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`,
    values: [
      payments.map(({ paymentId }) => paymentId),
      payments.map(({ accountId }) => accountId),
      payments.map(({ environment }) => environment),
      payments.map(({ signed }) => signed.identity),
      payments.map(({ source }) => source),
      payments.map(({ facilitator }) => facilitator),
      payments.map(({ signed }) => signed.scheme),
      payments.map(({ signed }) => signed.network),
      payments.map(({ signed }) => signed.asset),
      payments.map(({ signed }) => signed.payTo),
      payments.map(({ signed }) => signed.payer),
      payments.map(({ signed }) => signed.amountBaseUnits),
      payments.map(({ signed }) => encodeSigned(signed)),
      payments.map(({ fromBlock }) => fromBlock),
      payments.map(({ leaseMs }) => leaseMs),
      payments.map(({ purpose }) => (purpose ? JSON.stringify(purpose) : null)),
      payments.map(({ budget }) => budget?.maxReverted ?? null),
      payments.map(({ budget }) => budget?.windowMs ?? null),
    ],
  });
  assert(rows.length === payments.length, 'every payment is stored or not');
  return rows.map(row => (row.over_budget ? 'over_budget' : row.created ? 'opened' : 'exists'));
}
