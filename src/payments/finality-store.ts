import type { CellName, Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import type { ObservedTransfer, TransferPlace } from '../ports/chain.ts';
import type { Payment } from './payment.ts';
import { PAYMENT_COLUMNS, type PaymentRow, toPayment } from './payment-store.ts';

/** Statements on credited payments that a reorganisation could still undo. */

/** A credited payment with the place of the transfer that it was credited for. */
export interface CreditedAt {
  payment: Payment;
  place: TransferPlace;
}

/**
 * Takes credited payments that are not final and whose next look is due. The claim sets the time of the look
 * after this one, three times as far away as the last, up to ten minutes: a payment that stands needs no
 * other statement.
 * @param options.firstCheckMs the pause that the first look had
 */
export async function claimNotFinal(
  db: Queryable,
  cell: CellName,
  options: { limit: number; firstCheckMs: number },
): Promise<CreditedAt[]> {
  const result = await db.query<
    PaymentRow & { log_index: number; block_number: string; block_hash: string | null }
  >({
    name: `${cell}.claim_not_final_payments`,
    text: `UPDATE "${cell}".payment
           SET attempts = attempts + 1,
             due_at = now() + least(600000, $2 * 3 ^ least(attempts + 1, 10)) * interval '1 ms'
           WHERE payment_id IN (
             SELECT payment_id FROM "${cell}".payment
             WHERE state = 'credited' AND final_at IS NULL AND due_at <= now()
             ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
           RETURNING ${PAYMENT_COLUMNS}, log_index, block_number, block_hash`,
    values: [options.limit, options.firstCheckMs],
  });
  return result.rows.map(row => {
    assert(row.transaction !== null, 'credited with a transaction');
    return {
      payment: toPayment(row),
      place: {
        transaction: row.transaction,
        logIndex: row.log_index,
        blockNumber: BigInt(row.block_number),
        blockHash: row.block_hash ?? undefined,
      },
    };
  });
}

/** Nobody looks at these any more: no reorganisation can undo them. */
export async function markFinal(db: Queryable, cell: CellName, paymentIds: readonly string[]): Promise<void> {
  await db.query({
    name: `${cell}.mark_payments_final`,
    text: `UPDATE "${cell}".payment SET final_at = now(), updated_at = now()
           WHERE payment_id = ANY($1::uuid[]) AND state = 'credited' AND final_at IS NULL`,
    values: [paymentIds],
  });
}

/** Follows a transfer into another block or transaction; the credit stays as it is. */
export async function movePayment(
  db: Queryable,
  cell: CellName,
  paymentId: string,
  move: { from: TransferPlace; to: ObservedTransfer },
): Promise<void> {
  const { from, to } = move;
  await db.query({
    name: `${cell}.move_payment`,
    text: `UPDATE "${cell}".payment
           SET transaction = $4, log_index = $5, block_number = $6, block_hash = $7, updated_at = now()
           WHERE payment_id = $1 AND state = 'credited' AND final_at IS NULL
             AND transaction = $2 AND block_hash IS NOT DISTINCT FROM $3`,
    values: [
      paymentId,
      from.transaction,
      from.blockHash ?? null,
      to.transaction,
      to.logIndex,
      to.blockNumber,
      to.blockHash,
    ],
  });
}

export interface Reversal {
  /** False when the payment is final, or credited by another transfer than the one that is gone. */
  reversed: boolean;
  /** Credit that was spent or held already. Above zero, the account is frozen. */
  writtenOffNanoUsd: bigint;
}

/**
 * Takes the credit of a payment back whose transfer the chain has undone: reversal, state, freeze and event
 * in one transaction. Should the money come after all, it is credited again, less what was written off.
 */
export async function reversePayment(
  db: Queryable,
  cell: CellName,
  paymentId: string,
  gone: TransferPlace & { reason: string },
): Promise<Reversal> {
  const result = await db.query<{ reversed: boolean; written_off: string }>({
    name: `${cell}.reverse_payment`,
    text: `SELECT reversed, written_off FROM "${cell}".reverse_payment($1, $2, $3, $4)`,
    values: [paymentId, gone.transaction, gone.blockHash ?? null, gone.reason],
  });
  const [row] = result.rows;
  assert(row, 'reverse_payment answers one row');
  return { reversed: row.reversed, writtenOffNanoUsd: BigInt(row.written_off) };
}
