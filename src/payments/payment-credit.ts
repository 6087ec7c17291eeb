import type { CellName, Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import type { ObservedTransfer } from '../ports/chain.ts';
import type { PurposeResult } from './payment.ts';

export interface NewCredit {
  paymentId: string;
  /** The payment's account. */
  accountId: bigint;
  transfer: ObservedTransfer;
  amountNanoUsd: bigint;
  /** The chart's code of the network's receipts. */
  contra: number;
  /** When the transfer is looked at again, in case a reorganisation undid it. */
  firstCheckMs: number;
  /** When a purchase begins. */
  now: Date;
}

export interface Credit {
  creditedNanoUsd: bigint;
  availableNanoUsd: bigint;
  transaction: string;
  purposeResult: PurposeResult | undefined;
  /** False when the payment had been credited before; the other fields are the stored answer then. */
  first: boolean;
  /** The credit had been reversed in between: what the payment bought was applied then and stays applied. */
  again: boolean;
}

interface CreditRow {
  first: boolean;
  again: boolean;
  credited: string;
  available: string;
  transaction: string;
  purpose_result: PurposeResult | null;
}

/**
 * Credits payments by the transfers that the chain reports and applies their purposes: grant, purchase, payment state,
 * stored answer and event in one transaction, each payment at most once however many callers prove it at the same time.
 * All of them or, with an error, none.
 * @returns the credit of each, in their order
 */
export async function creditPayments(
  db: Queryable,
  cell: CellName,
  credits: readonly NewCredit[],
): Promise<Credit[]> {
  const { rows } = await db.query<CreditRow>({
    name: `${cell}.credit_payments`,
    text: `SELECT first, again, credited, available, transaction, purpose_result
           FROM "${cell}".credit_payments($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    values: [
      credits.map(({ paymentId }) => paymentId),
      credits.map(({ accountId }) => accountId),
      credits.map(({ amountNanoUsd }) => amountNanoUsd),
      credits.map(({ contra }) => contra),
      credits.map(({ transfer }) => transfer.transaction),
      credits.map(({ transfer }) => transfer.logIndex),
      credits.map(({ transfer }) => transfer.blockNumber),
      credits.map(({ transfer }) => transfer.blockHash),
      credits.map(({ firstCheckMs }) => firstCheckMs),
      credits.map(({ now }) => now),
    ],
  });
  assert(rows.length === credits.length, 'every payment has a credit');
  return rows.map(row => ({
    first: row.first,
    again: row.again,
    creditedNanoUsd: BigInt(row.credited),
    availableNanoUsd: BigInt(row.available),
    transaction: row.transaction,
    purposeResult: row.purpose_result ?? undefined,
  }));
}
