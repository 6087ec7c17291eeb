import type { Queryable } from '../db/queryable.ts';
import type { ObservedTransfer, TransferPlace } from '../ports/chain.ts';
import {
  FOREIGN_COLUMNS,
  type ForeignSettlement,
  type ForeignSettlementRow,
  toForeignSettlement,
} from './foreign-settlement.ts';

/** Statements on settlements for other sellers that a reorganisation could still undo, or has undone. */

/** A settlement with the place of its transfer. */
export type ForeignSettledAt = ForeignSettlement & { place: TransferPlace };

/** Why one that was undone is open again. */
export const REORGANISED = 'reorganised';

/**
 * Takes settlements that are not final and whose next look is due. The claim sets the time of the look after this one,
 * three times as far away as the last, up to ten minutes.
 * @param options.firstCheckMs the pause that the first look had
 */
export async function claimForeignNotFinal(
  db: Queryable,
  options: { limit: number; firstCheckMs: number },
): Promise<ForeignSettledAt[]> {
  const { rows } = await db.query<ForeignSettlementRow>({
    name: 'directory.claim_not_final_facilitator_settlements',
    text: `UPDATE directory.facilitator_settlement
           SET attempts = attempts + 1,
             due_at = now() + least(600000, $2 * 3 ^ least(attempts + 1, 10)) * interval '1 ms'
           WHERE payment_id IN (
             SELECT payment_id FROM directory.facilitator_settlement
             WHERE state = 'settled' AND final_at IS NULL AND due_at <= now()
             ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
           RETURNING ${FOREIGN_COLUMNS}`,
    values: [options.limit, options.firstCheckMs],
  });
  return rows
    .map(toForeignSettlement)
    .filter((settlement): settlement is ForeignSettledAt => settlement.place !== undefined);
}

/** Nobody looks at these any more: no reorganisation can undo them. */
export async function markForeignFinal(db: Queryable, paymentIds: readonly string[]): Promise<void> {
  await db.query({
    name: 'directory.mark_facilitator_settlements_final',
    text: `UPDATE directory.facilitator_settlement SET final_at = now(), updated_at = now()
           WHERE payment_id = ANY($1::uuid[]) AND state = 'settled' AND final_at IS NULL`,
    values: [paymentIds],
  });
}

/** Follows a transfer into another block or transaction; the settlement stays as it is. */
export async function moveForeignSettlement(
  db: Queryable,
  paymentId: string,
  { from, to }: { from: TransferPlace; to: ObservedTransfer },
): Promise<void> {
  await db.query({
    name: 'directory.move_facilitator_settlement',
    text: `UPDATE directory.facilitator_settlement
           SET transaction = $4, log_index = $5, block_number = $6, block_hash = $7, updated_at = now()
           WHERE payment_id = $1 AND state = 'settled' AND final_at IS NULL
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

/**
 * Opens a settlement again whose transfer the chain has undone, so that it is sent again and brought to another end.
 * @returns false when it is final, or settled by another transfer than the one that is gone
 */
export async function undoForeignSettlement(
  db: Queryable,
  paymentId: string,
  gone: TransferPlace,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'directory.undo_facilitator_settlement',
    text: `UPDATE directory.facilitator_settlement
           SET state = 'settling', reason = $4, log_index = NULL, block_number = NULL, block_hash = NULL,
             undone_at = now(), closed_at = NULL, closed_reason = NULL, attempts = 0, due_at = now(), updated_at = now()
           WHERE payment_id = $1 AND state = 'settled' AND final_at IS NULL
             AND transaction = $2 AND block_hash IS NOT DISTINCT FROM $3`,
    values: [paymentId, gone.transaction, gone.blockHash ?? null, REORGANISED],
  });
  return rowCount === 1;
}

/** A success that a seller was told and that will not come true any more. */
export interface UndoneSettlement {
  paymentId: string;
  caller: string;
  network: string;
  payer: string;
  payTo: string;
  amountBaseUnits: bigint;
  /** The transaction that the seller was told. */
  transaction: string | undefined;
  /** Why it can not be settled again. */
  reason: string | undefined;
  undoneAt: Date;
}

/** Settlements that are undone for good and that nobody has dealt with, oldest first. */
export async function listUndoneForeign(db: Queryable, limit: number): Promise<UndoneSettlement[]> {
  const { rows } = await db.query<ForeignSettlementRow & { undone_at: Date }>({
    name: 'directory.list_undone_facilitator_settlements',
    text: `SELECT ${FOREIGN_COLUMNS} FROM directory.facilitator_settlement
           WHERE state = 'failed' AND undone_at IS NOT NULL AND closed_at IS NULL ORDER BY undone_at LIMIT $1`,
    values: [limit],
  });
  return rows.map(row => {
    const { paymentId, caller, signed, transaction, reason } = toForeignSettlement(row);
    const { network, payer, payTo, amountBaseUnits } = signed;
    return {
      paymentId,
      caller,
      network,
      payer,
      payTo,
      amountBaseUnits,
      transaction,
      reason,
      undoneAt: row.undone_at,
    };
  });
}

/**
 * Takes an undone settlement off the list, because a person has dealt with it.
 * @param undone.reason 1 to 500 characters
 * @returns false when the list has none of this name
 */
export async function closeUndoneForeign(
  db: Queryable,
  undone: { paymentId: string; reason: string },
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'directory.close_undone_facilitator_settlement',
    text: `UPDATE directory.facilitator_settlement SET closed_at = now(), closed_reason = $2
           WHERE payment_id = $1 AND state = 'failed' AND undone_at IS NOT NULL AND closed_at IS NULL`,
    values: [undone.paymentId, undone.reason],
  });
  return rowCount === 1;
}
