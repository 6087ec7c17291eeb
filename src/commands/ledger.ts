import { requireDatabase } from '../config/database.ts';
import { createPool } from '../db/pool.ts';
import type { CellName, Queryable } from '../db/queryable.ts';
import { contraName } from '../ledger/chart.ts';
import {
  addSystemBalances,
  type LedgerBreak,
  readSystemBalances,
  reconcileLedger,
  verifySeals,
} from '../ledger/reconcile.ts';
import { formatUsd } from '../lib/money.ts';
import { requireMigrated } from './migrate.ts';
import { EXIT, print, table } from './output.ts';

/** Reading every row of a large ledger takes longer than any request may. */
const BOOKS_TIMEOUT_MS = 3_600_000;

/** `topup-gateway reconcile --ledger`: proves the books of every cell; exit 1 names what is wrong. */
export async function reconcileBooks(args: string[]): Promise<void> {
  const cells = await inEveryCell(async (db, cell) => ({
    ...(await reconcileLedger(db, cell)),
    system: await readSystemBalances(db, cell),
  }));
  const systemAccounts = addSystemBalances(cells.map(({ system }) => system)).map(
    ({ environment, contra, amountNanoUsd }) => ({
      environment,
      contra,
      name: contraName(contra),
      balanceUsd: formatUsd(amountNanoUsd),
    }),
  );
  const accounts = cells.reduce((sum, cell) => sum + cell.accounts, 0n);
  print(
    args,
    {
      accounts,
      systemAccounts,
      cells: cells.map(({ cell, breaks, accounts: count }) => ({ cell, accounts: count, breaks })),
    },
    [
      table(
        ['cell', 'accounts', 'problems'],
        cells.map(({ cell, accounts: count, breaks }) => [cell, count, breaks.length]),
      ),
      table(
        ['environment', 'system account', 'balance USD'],
        systemAccounts.map(({ environment, name, balanceUsd }) => [environment, name, balanceUsd]),
      ),
      listBreaks(cells),
    ].join('\n\n'),
  );
  process.exitCode = exitOf(cells);
}

/** `topup-gateway ledger verify`: recomputes the sealed hash chains; exit 1 when a row was changed later. */
export async function ledger(args: string[]): Promise<void> {
  if (args[0] !== 'verify') {
    process.stderr.write('usage: topup-gateway ledger verify [--json]\n');
    process.exitCode = EXIT.usage;
    return;
  }
  const cells = await inEveryCell(verifySeals);
  print(
    args,
    { cells },
    [
      table(
        ['cell', 'sealed blocks', 'newest hash'],
        cells.map(({ cell, blocks, head }) => [cell, blocks, head ?? 'none yet']),
      ),
      listBreaks(cells),
    ].join('\n\n'),
  );
  process.exitCode = exitOf(cells);
}

interface CellReport {
  cell: CellName;
  breaks: readonly LedgerBreak[];
}

function exitOf(cells: readonly CellReport[]): number {
  return cells.every(({ breaks }) => breaks.length === 0) ? EXIT.good : EXIT.problem;
}

function listBreaks(cells: readonly CellReport[]): string {
  const rows = cells.flatMap(({ cell, breaks }) =>
    breaks.map(({ problem, accountId, detail }) => [cell, problem, accountId, detail]),
  );
  return rows.length === 0 ? 'the books are in order' : table(['cell', 'problem', 'account', 'detail'], rows);
}

/** Cell by cell: each is proven by itself. */
async function inEveryCell<T>(work: (db: Queryable, cell: CellName) => Promise<T>): Promise<T[]> {
  const database = requireDatabase(process.env);
  await requireMigrated(database);
  const pool = createPool({
    databaseUrl: database.databaseUrl,
    maxConnections: 1,
    statementTimeoutMs: BOOKS_TIMEOUT_MS,
    onError: () => undefined,
  });
  try {
    const results: T[] = [];
    for (const cell of database.cells) results.push(await work(pool, cell));
    return results;
  } finally {
    await pool.end();
  }
}
