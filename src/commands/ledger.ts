import { requireDatabase } from '../config/database.ts';
import { createPool } from '../db/pool.ts';
import type { CellName, Queryable } from '../db/queryable.ts';
import { contraName } from '../ledger/chart.ts';
import { type DetachOutcome, detachMonth } from '../ledger/partitions.ts';
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

const USAGE = `usage: topup-gateway ledger verify [--json]
       topup-gateway ledger detach <month, e.g. 2026-01> [--json]

detach takes the oldest month out of the log of every cell, behind a checkpoint. Its table transfer_YYYY_MM stays
beside the log: archive it, then drop it. Safe to repeat.
exit codes: 0 good; 1 a row was changed later, or a month could not leave, and why; 2 the call is wrong
`;

/** `topup-gateway ledger verify|detach`. */
export async function ledger(args: string[]): Promise<void> {
  const [verb, month = '', ...rest] = args.filter(arg => arg !== '--json');
  if (verb === 'verify' && month === '') return verify(args);
  if (verb === 'detach' && /^\d{4}-(0[1-9]|1[0-2])$/.test(month) && rest.length === 0)
    return detach(args, month);
  process.stderr.write(USAGE);
  process.exitCode = EXIT.usage;
}

const DETACH_SENTENCES: Record<DetachOutcome, string> = {
  detached: 'left the log',
  'not attached': 'is not in the log',
  'not the oldest month': 'is not the oldest month: detach the ones before it first',
  'too recent': 'must have been over for a month',
  'open holds': 'has holds that are still open',
  'open payments': 'has payments whose outcome is not known yet',
  'not closed': 'is not closed yet',
  'not sealed': 'has transfers that are not sealed yet: try again in a minute',
  'changed since it was sealed':
    'was changed after it was sealed: ledger verify names the accounts, and it stays',
  busy: 'is in use for longer than a lock may be waited for: try again',
};

/** A month that a cell has given up before is no problem, as long as another one has just followed. */
async function detach(args: string[], month: string): Promise<void> {
  const cells = await inEveryCell(async (db, cell) => ({
    cell,
    outcome: await detachMonth(db, cell, new Date(`${month}-01T00:00:00Z`)),
  }));
  print(
    args,
    { month, cells },
    table(
      ['cell', 'outcome', ''],
      cells.map(({ cell, outcome }) => [cell, outcome, `${month} ${DETACH_SENTENCES[outcome]}`]),
    ),
  );
  const outcomes = cells.map(({ outcome }) => outcome);
  const isDone = outcomes.every(each => each === 'detached' || each === 'not attached');
  process.exitCode = isDone && outcomes.includes('detached') ? EXIT.good : EXIT.problem;
}

/** Recomputes the sealed hash chains. */
async function verify(args: string[]): Promise<void> {
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
