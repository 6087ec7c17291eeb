import type { CellName, Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import type { At } from './calls.ts';

/** A block that was added to the chain. Publish the hash outside the database: it fixes all before it. */
export interface Seal {
  block: bigint;
  transfers: bigint;
  /** Hex. */
  hash: string;
}

/**
 * Seals the transfers that are new and adds them to the totals of the system accounts: one block of the hash
 * chain. Replicas may call it at the same time; they take turns.
 * @param accounts how many accounts one block covers at most
 * @returns undefined when there was nothing to seal.
 */
export async function sealWindow(
  db: Queryable,
  cell: CellName,
  { accounts = 10_000, now }: At & { accounts?: number } = {},
): Promise<Seal | undefined> {
  const { rows } = await db.query<{ block: string | null; transfers: string; hash: Buffer | null }>({
    name: `ledger_seal_window_${cell}`,
    text: `SELECT block, transfers, hash FROM "${cell}".seal_window($1, $2)`,
    values: [accounts, now ?? null],
  });
  const row = rows[0];
  assert(row, 'seal_window returns one row');
  if (row.block === null || row.hash === null) return undefined;
  return { block: BigInt(row.block), transfers: BigInt(row.transfers), hash: row.hash.toString('hex') };
}
