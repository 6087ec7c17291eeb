import type { CellName, Queryable } from '../db/queryable.ts';

export interface KeySpend {
  cell: CellName;
  accountId: bigint;
  keyId: string;
  amountNanoUsd: bigint;
  /** First day of the calendar month in UTC, e.g. `2026-11-01`. */
  month: string;
}

/**
 * Counts an amount against a key's cap, before it is charged. One statement under the row's lock, so calls at once
 * never pass the cap together.
 * @returns false when the cap forbids it; then nothing was counted
 */
export async function reserveSpend(db: Queryable, spend: KeySpend, capNanoUsd: bigint): Promise<boolean> {
  const { cell, accountId, keyId, amountNanoUsd, month } = spend;
  const result = await db.query({
    name: `reserve_key_spend_${cell}`,
    text: `INSERT INTO "${cell}".key_spend AS k (account_id, key_id, month, spent)
           SELECT $1, $2, $4::date, $3::bigint WHERE $3 <= $5::bigint
           ON CONFLICT ON CONSTRAINT key_spend_pkey DO UPDATE
             SET month = greatest(k.month, $4), spent = CASE WHEN k.month < $4 THEN 0 ELSE k.spent END + $3
             WHERE CASE WHEN k.month < $4 THEN 0 ELSE k.spent END + $3 <= $5`,
    values: [accountId, keyId, amountNanoUsd, month, capNanoUsd],
  });
  return result.rowCount === 1;
}

/**
 * Corrects what was counted by the difference to what was charged. A service that cost more than was counted has
 * been given already, so it counts even beyond the cap; a month that is over is left as it is.
 */
export async function correctSpend(db: Queryable, spend: KeySpend): Promise<void> {
  const { cell, accountId, keyId, amountNanoUsd, month } = spend;
  await db.query({
    name: `correct_key_spend_${cell}`,
    text: `UPDATE "${cell}".key_spend SET spent = greatest(spent + $3::bigint, 0)
           WHERE account_id = $1 AND key_id = $2 AND month = $4::date`,
    values: [accountId, keyId, amountNanoUsd, month],
  });
}
