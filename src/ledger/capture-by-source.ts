import type { CellName, Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import { type LedgerStatus, ledgerStatus } from './status.ts';

/**
 * Captures a hold, no more than it holds, and tells how much of that was promotional credit: for credit that goes
 * on to somebody else. Slower than a plain capture, which leaves the grants for later.
 * @returns `applied` and the other statuses of a capture; the part is zero unless it was applied
 */
export async function captureBySource(
  db: Queryable,
  cell: CellName,
  { accountId, id, amountNanoUsd }: { accountId: bigint; id: string; amountNanoUsd: bigint },
): Promise<{ status: LedgerStatus; promotionalNanoUsd: bigint }> {
  const { rows } = await db.query<{ status: number; promotional: string }>({
    name: `ledger_capture_by_source_${cell}`,
    text: `SELECT status, promotional FROM "${cell}".capture_by_source($1, $2, $3)`,
    values: [accountId, id, amountNanoUsd],
  });
  const [row] = rows;
  assert(row, 'capture_by_source returns one row');
  return { status: ledgerStatus(row.status), promotionalNanoUsd: BigInt(row.promotional) };
}
