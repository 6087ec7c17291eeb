import type { CellName, Queryable } from '../db/queryable.ts';
import type { Environment } from './chart.ts';

/** One thing that is wrong with the books. */
export interface LedgerBreak {
  problem: string;
  /** Null where the problem is not one account's. */
  accountId: bigint | null;
  detail: string;
}

export interface LedgerReport {
  cell: CellName;
  /** Empty: the books are proven for the moment of the call. At most `limit`. */
  breaks: LedgerBreak[];
  accounts: bigint;
}

/** Result of checking the seals: `head` is the newest hash, to be compared with where it was published. */
export interface SealReport {
  cell: CellName;
  breaks: LedgerBreak[];
  blocks: bigint;
  /** Hex, or null when nothing is sealed yet. */
  head: string | null;
}

interface BreakRow {
  problem: string;
  account_id: string | null;
  detail: string;
}

const DEFAULT_LIMIT = 1_000;

/**
 * Proves the books of one cell in one snapshot: debits equal credits, balances equal the sums of their
 * transfers, sequences have no gaps, held equals the open holds, grants add up, live and test never met.
 * Reads every row; run it on a connection without a short statement timeout.
 */
export async function reconcileLedger(
  db: Queryable,
  cell: CellName,
  { limit = DEFAULT_LIMIT }: { limit?: number } = {},
): Promise<LedgerReport> {
  const breaks = await listBreaks(db, cell, 'ledger_breaks', limit);
  const { rows } = await db.query<{ accounts: string }>({
    name: `ledger_count_accounts_${cell}`,
    text: `SELECT count(*) AS accounts FROM "${cell}".account`,
    values: [],
  });
  return { cell, breaks, accounts: BigInt(rows[0]?.accounts ?? '0') };
}

/** Recomputes the chain of seals from the rows: a later edit of any sealed transfer shows up. */
export async function verifySeals(
  db: Queryable,
  cell: CellName,
  { limit = DEFAULT_LIMIT }: { limit?: number } = {},
): Promise<SealReport> {
  const breaks = await listBreaks(db, cell, 'verify_seals', limit);
  const { rows } = await db.query<{ blocks: string; head: string | null }>({
    name: `ledger_seal_head_${cell}`,
    text: `SELECT count(*) AS blocks,
             (SELECT encode(hash, 'hex') FROM "${cell}".seal ORDER BY block DESC LIMIT 1) AS head
           FROM "${cell}".seal`,
    values: [],
  });
  return { cell, breaks, blocks: BigInt(rows[0]?.blocks ?? '0'), head: rows[0]?.head ?? null };
}

async function listBreaks(
  db: Queryable,
  cell: CellName,
  source: 'ledger_breaks' | 'verify_seals',
  limit: number,
): Promise<LedgerBreak[]> {
  const { rows } = await db.query<BreakRow>({
    name: `ledger_${source}_${cell}`,
    text: `SELECT problem, account_id, detail FROM "${cell}".${source}() LIMIT $1`,
    values: [limit],
  });
  return rows.map(row => ({
    problem: row.problem,
    accountId: row.account_id === null ? null : BigInt(row.account_id),
    detail: row.detail,
  }));
}

/** Balance of one system account in nano-USD: what it received, less what it gave. */
export interface SystemBalance {
  environment: Environment;
  contra: number;
  amountNanoUsd: bigint;
}

/** The same over several cells: nothing of the ledger is joined across them, so it is added up here. */
export function addSystemBalances(cells: readonly (readonly SystemBalance[])[]): SystemBalance[] {
  const sums = new Map<string, SystemBalance>();
  for (const balance of cells.flat()) {
    const key = `${balance.environment} ${balance.contra}`;
    const amountNanoUsd = (sums.get(key)?.amountNanoUsd ?? 0n) + balance.amountNanoUsd;
    sums.set(key, { ...balance, amountNanoUsd });
  }
  return [...sums.values()].toSorted(
    (x, y) => x.environment.localeCompare(y.environment) || x.contra - y.contra,
  );
}

/** Sums the system accounts from the rolled-up days and the transfers that are not sealed yet. */
export async function readSystemBalances(db: Queryable, cell: CellName): Promise<SystemBalance[]> {
  const { rows } = await db.query<{ environment: Environment; contra: number; amount: string }>({
    name: `ledger_system_balances_${cell}`,
    text: `SELECT environment, contra, amount FROM "${cell}".system_balances() ORDER BY environment, contra`,
    values: [],
  });
  return rows.map(row => ({
    environment: row.environment,
    contra: row.contra,
    amountNanoUsd: BigInt(row.amount),
  }));
}
