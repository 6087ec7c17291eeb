import type { CellName, Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import { type LedgerResult, type LedgerStatus, ledgerStatus } from './status.ts';

/** The injected time of an operation; the database's own clock when absent. */
export interface At {
  now?: Date | undefined;
}

interface ResultRow {
  status: number;
  available: string;
  posted: string;
}

/**
 * Calls one of the cell's functions that answer (status, available, posted). The call stands bare, with
 * plain parameters, because Citus passes only such a call whole to the node that holds the cell.
 */
export async function callLedger(
  db: Queryable,
  cell: CellName,
  functionName: string,
  values: unknown[],
): Promise<LedgerResult> {
  const { rows } = await db.query<ResultRow>({
    name: `ledger_${functionName}_${cell}`,
    text: `SELECT status, available, posted FROM "${cell}".${functionName}(${placeholders(values.length)})`,
    values,
  });
  const row = rows[0];
  assert(row, `${functionName} returns one row`);
  return {
    status: ledgerStatus(row.status),
    availableNanoUsd: BigInt(row.available),
    postedNanoUsd: BigInt(row.posted),
  };
}

/** A refusal that is known before the database is asked. */
export function refusal(status: LedgerStatus): LedgerResult {
  return { status, availableNanoUsd: 0n, postedNanoUsd: 0n };
}

function placeholders(count: number): string {
  return Array.from({ length: count }, (_, index) => `$${index + 1}`).join(', ');
}
