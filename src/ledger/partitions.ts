import { isGivenUp } from '../db/pg-errors.ts';
import type { CellName, Queryable } from '../db/queryable.ts';

export interface PartitionOptions {
  /** First month that must exist; the month of the database's clock when absent. */
  from?: Date;
  /** Months from there on; four leave a quarter for a maker that stands still. */
  months?: number;
}

/**
 * Makes the months of the log that are missing, ahead of time. Call it daily; several callers take turns.
 * @returns how many were added.
 */
export async function ensurePartitions(
  db: Queryable,
  cell: CellName,
  { from, months = 4 }: PartitionOptions = {},
): Promise<number> {
  const { rows } = await db.query<{ added: number }>({
    name: `ledger_ensure_partitions_${cell}`,
    text: `SELECT "${cell}".ensure_transfer_partitions(coalesce($1::timestamptz, clock_timestamp()), $2) AS added`,
    values: [from ?? null, months],
  });
  return rows[0]?.added ?? 0;
}

export type DetachOutcome =
  | 'detached'
  | 'not the oldest month'
  | 'too recent'
  | 'open holds'
  | 'open payments'
  | 'not closed'
  | 'not attached'
  | 'not sealed'
  /** Somebody edited the month: `ledger verify` names the accounts, and the month stays as evidence. */
  | 'changed since it was sealed'
  /** Somebody reads or writes the log for longer than a lock may be waited for: nothing was done, try again. */
  | 'busy';

/**
 * Takes the oldest month out of the log and leaves a checkpoint for every account in it. The table
 * `transfer_YYYY_MM` stays beside the log, to be archived and dropped by an operator. Safe to repeat.
 * @param month any instant of the month
 */
export async function detachMonth(
  db: Queryable,
  cell: CellName,
  month: Date,
  now?: Date,
): Promise<DetachOutcome> {
  try {
    return await closeAndDetach(db, cell, month, now);
  } catch (error) {
    if (isGivenUp(error)) return 'busy';
    throw error;
  }
}

async function closeAndDetach(
  db: Queryable,
  cell: CellName,
  month: Date,
  now: Date | undefined,
): Promise<DetachOutcome> {
  const values = [month.toISOString().slice(0, 10), now ?? null];
  const close = await db.query<{ outcome: DetachOutcome | 'closed' }>({
    name: `ledger_close_month_${cell}`,
    text: `SELECT "${cell}".close_transfer_month($1, $2) AS outcome`,
    values,
  });
  const outcome = close.rows[0]?.outcome;
  // A month that an earlier call has closed is no longer the oldest open one: go on with it.
  if (outcome === 'too recent' || outcome === 'open holds' || outcome === 'open payments') return outcome;
  const { rows } = await db.query<{ outcome: DetachOutcome }>({
    name: `ledger_detach_month_${cell}`,
    text: `SELECT "${cell}".detach_transfer_month($1, $2) AS outcome`,
    values,
  });
  const detached = rows[0]?.outcome ?? 'not attached';
  return detached === 'not closed' ? 'not the oldest month' : detached;
}
