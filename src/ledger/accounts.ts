import type { CellName, Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import { isPositiveAmount } from './amounts.ts';
import type { At } from './calls.ts';
import type { Environment } from './chart.ts';
import { type LedgerStatus, ledgerStatus } from './status.ts';

export interface OpenAccount extends At {
  /** Handed out by the directory. */
  accountId: bigint;
  environment: Environment;
}

/**
 * Opens an account with nothing in it.
 * @returns `applied`, `replayed` when it is open already, `conflict` when it is open in the other environment;
 * `unknown_account` for a number, and `wrong_environment` for an environment, that cannot be.
 */
export async function openAccount(
  db: Queryable,
  cell: CellName,
  { accountId, environment, now }: OpenAccount,
): Promise<{ status: LedgerStatus }> {
  if (!isPositiveAmount(accountId)) return { status: 'unknown_account' };
  if (environment !== 'live' && environment !== 'test') return { status: 'wrong_environment' };
  const { rows } = await db.query<{ status: number }>({
    name: `ledger_open_account_${cell}`,
    text: `SELECT status FROM "${cell}".open_account($1, $2, $3)`,
    values: [accountId, environment, now ?? null],
  });
  assert(rows[0], 'open_account returns one row');
  return { status: ledgerStatus(rows[0].status) };
}

/** Locks an account until the end of the transaction; one that was never opened is not locked. */
export async function lockAccount(db: Queryable, cell: CellName, accountId: bigint): Promise<void> {
  await db.query({
    name: `ledger_lock_account_${cell}`,
    text: `SELECT FROM "${cell}".account WHERE account_id = $1 FOR NO KEY UPDATE`,
    values: [accountId],
  });
}
