import { requireSetting } from '../config/read.ts';
import { createPool } from '../db/pool.ts';
import { DEFAULT_CELL, type Queryable } from '../db/queryable.ts';
import { type LedgerBreak, reconcileLedger, verifySeals } from '../ledger/reconcile.ts';
import { EXIT, print, table } from './output.ts';

/** Reading every row of a large ledger takes longer than any request may. */
const BOOKS_TIMEOUT_MS = 3_600_000;

/** `topup-gateway reconcile --ledger`: proves the books; exit 1 names what is wrong. */
export async function reconcileBooks(args: string[]): Promise<void> {
  const report = await withBooks(db => reconcileLedger(db, DEFAULT_CELL));
  print(
    args,
    report,
    [`${report.accounts} accounts in ${report.cell}`, listBreaks(report.breaks)].join('\n'),
  );
  process.exitCode = report.breaks.length === 0 ? EXIT.good : EXIT.problem;
}

/** `topup-gateway ledger verify`: recomputes the sealed hash chain; exit 1 when a row was changed later. */
export async function ledger(args: string[]): Promise<void> {
  if (args[0] !== 'verify') {
    process.stderr.write('usage: topup-gateway ledger verify [--json]\n');
    process.exitCode = EXIT.usage;
    return;
  }
  const report = await withBooks(db => verifySeals(db, DEFAULT_CELL));
  const head = report.head ?? 'none yet';
  print(
    args,
    report,
    [`${report.blocks} sealed blocks, newest hash ${head}`, listBreaks(report.breaks)].join('\n'),
  );
  process.exitCode = report.breaks.length === 0 ? EXIT.good : EXIT.problem;
}

function listBreaks(breaks: readonly LedgerBreak[]): string {
  if (breaks.length === 0) return 'the books are in order';
  return table(
    ['problem', 'account', 'detail'],
    breaks.map(item => [item.problem, item.accountId, item.detail]),
  );
}

async function withBooks<T>(work: (db: Queryable) => Promise<T>): Promise<T> {
  const pool = createPool({
    databaseUrl: requireSetting('DATABASE_URL', process.env),
    maxConnections: 1,
    statementTimeoutMs: BOOKS_TIMEOUT_MS,
    onError: () => undefined,
  });
  try {
    return await work(pool);
  } finally {
    await pool.end();
  }
}
