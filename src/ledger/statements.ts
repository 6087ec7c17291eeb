import type { CellName, Queryable } from '../db/queryable.ts';
import { type TransferCode, transferCode } from './chart.ts';

/** One line of an account's statement. Amounts in nano-USD, signed as the customer sees them. */
export interface StatementLine {
  id: string;
  /** Gap-free number within the account; the cursor of the next page. */
  seq: bigint;
  amountNanoUsd: bigint;
  balanceAfterNanoUsd: bigint;
  code: TransferCode;
  /** Code of the system account on the other side (see chart.ts). */
  contra: number;
  createdAt: Date;
}

/** Newest first; either from a cursor on or from an offset on. */
export interface StatementPage {
  /** 1 to 100. */
  limit: number;
  /** Only lines with a smaller seq: stable while new lines arrive. */
  beforeSeq?: bigint;
  /** Lines to skip, for callers that count pages; costs as much as reading them. */
  offset?: number;
  /** Also list releases and expiries of holds, which move nothing. */
  includeZeroAmounts?: boolean;
}

interface TransferRow {
  id: string;
  seq: string;
  amount: string;
  balance_after: string;
  code: number;
  contra: number;
  created_at: Date;
}

const MAX_LIMIT = 100;

/** Lists an account's transfers, newest first; `hasMore` tells whether older ones follow. */
export async function listTransfers(
  db: Queryable,
  cell: CellName,
  accountId: bigint,
  page: StatementPage,
): Promise<{ transfers: StatementLine[]; hasMore: boolean }> {
  const limit = Math.max(1, Math.min(page.limit, MAX_LIMIT));
  const { rows } = await db.query<TransferRow>({
    name: `ledger_statement_${cell}`,
    text: `SELECT id, seq, amount, balance_after, code, contra, created_at FROM "${cell}".transfer
           WHERE -account_id = -$1::bigint AND seq < coalesce($2::bigint, 9223372036854775807)
             AND ($3::boolean OR amount <> 0)
           ORDER BY seq DESC LIMIT $4 OFFSET $5`,
    values: [
      accountId,
      page.beforeSeq ?? null,
      page.includeZeroAmounts ?? false,
      limit + 1,
      // Beyond it no number is exact, and no account has as many rows.
      Math.max(0, Math.min(page.offset ?? 0, Number.MAX_SAFE_INTEGER)),
    ],
  });
  return { transfers: rows.slice(0, limit).map(toLine), hasMore: rows.length > limit };
}

function toLine(row: TransferRow): StatementLine {
  return {
    id: row.id,
    seq: BigInt(row.seq),
    amountNanoUsd: BigInt(row.amount),
    balanceAfterNanoUsd: BigInt(row.balance_after),
    code: transferCode(row.code),
    contra: row.contra,
    createdAt: row.created_at,
  };
}
