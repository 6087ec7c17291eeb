import type { CellName, Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import type { At } from './calls.ts';

const BLOCK_ACCOUNTS = 10_000;
/** What one round of the sealer adds at most. */
const MAX_BLOCKS = 100;

/** A block that was added to the chain. Publish the hash outside the database: it fixes all before it. */
export interface Seal {
  block: bigint;
  transfers: bigint;
  accounts: bigint;
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
  { accounts = BLOCK_ACCOUNTS, now }: At & { accounts?: number } = {},
): Promise<Seal | undefined> {
  const { rows } = await db.query<{
    block: string | null;
    transfers: string;
    accounts: string;
    hash: Buffer | null;
  }>({
    name: `ledger_seal_window_${cell}`,
    text: `SELECT block, transfers, accounts, hash FROM "${cell}".seal_window($1, $2)`,
    values: [accounts, now ?? null],
  });
  const row = rows[0];
  assert(row, 'seal_window returns one row');
  if (row.block === null || row.hash === null) return undefined;
  return {
    block: BigInt(row.block),
    transfers: BigInt(row.transfers),
    accounts: BigInt(row.accounts),
    hash: row.hash.toString('hex'),
  };
}

/** Seals block after block until one has room left: a single one would fall behind under load. */
export async function sealNew(db: Queryable, cell: CellName, accounts = BLOCK_ACCOUNTS): Promise<void> {
  for (let block = 0; block < MAX_BLOCKS; block += 1) {
    const seal = await sealWindow(db, cell, { accounts });
    if (!seal || seal.accounts < accounts) return;
  }
}
