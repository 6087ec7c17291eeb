import type { CellName, Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import type { At } from './calls.ts';

/** What one round of sweeping ended. */
export interface SweepResult {
  holds: number;
  /** Accounts whose ended grants were forfeited. */
  accounts: number;
  /** Expired holds that were left because their account was in use. */
  skipped: number;
}

const MAX_ROUNDS = 100;

/**
 * Ends expired holds and grants of one cell until nothing is due that can be had. Any number of replicas may
 * sweep at once. An account that is in use is skipped; when only such are left, the oldest is waited for.
 * @param batch holds, and accounts with grants, per call
 */
export async function sweep(
  db: Queryable,
  cell: CellName,
  { batch = 500, now }: At & { batch?: number } = {},
): Promise<SweepResult> {
  const total: SweepResult = { holds: 0, accounts: 0, skipped: 0 };
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const { ended, skipped } = await sweepHolds(db, cell, batch, false, now);
    total.holds += ended;
    total.skipped = skipped;
    if (ended === 0 && skipped > 0) {
      const waited = await sweepHolds(db, cell, batch, true, now);
      total.holds += waited.ended;
      if (waited.ended === 0) break;
    } else if (ended === 0) break;
  }
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const accounts = await sweepGrants(db, cell, batch, now);
    total.accounts += accounts;
    if (accounts < batch) break;
  }
  return total;
}

async function sweepHolds(
  db: Queryable,
  cell: CellName,
  batch: number,
  wait: boolean,
  now: Date | undefined,
): Promise<{ ended: number; skipped: number }> {
  const { rows } = await db.query<{ ended: number; skipped: number }>({
    name: `ledger_sweep_holds_${cell}`,
    text: `SELECT ended, skipped FROM "${cell}".sweep_holds($1, $2, $3)`,
    values: [batch, wait, now ?? null],
  });
  assert(rows[0], 'sweep_holds returns one row');
  return rows[0];
}

async function sweepGrants(
  db: Queryable,
  cell: CellName,
  batch: number,
  now: Date | undefined,
): Promise<number> {
  const { rows } = await db.query<{ accounts: number }>({
    name: `ledger_sweep_grants_${cell}`,
    text: `SELECT accounts FROM "${cell}".sweep_grants($1, $2)`,
    values: [batch, now ?? null],
  });
  return rows[0]?.accounts ?? 0;
}
