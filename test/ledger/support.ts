import { Pool } from 'pg';
import { expect } from 'vitest';
import { migrate } from '../../src/db/migrate.ts';
import { type CellName, cellName, DEFAULT_CELL } from '../../src/db/queryable.ts';
import { openAccount } from '../../src/ledger/accounts.ts';
import { addGrant } from '../../src/ledger/grants.ts';
import { reconcileLedger } from '../../src/ledger/reconcile.ts';
import { newId } from '../../src/lib/ids.ts';
import { createTestDatabase } from '../support/database.ts';

/** Every ledger test runs in both: a cell is nothing but a schema, and one must not know of the other. */
export const CELLS = [DEFAULT_CELL, cellName('cell_1')] as const;

export interface LedgerDatabase {
  databaseUrl: string;
  pool: Pool;
  close(): Promise<void>;
}

/** A database of its own with two empty cells. */
export async function createLedgerDatabase(maxConnections = 4): Promise<LedgerDatabase> {
  const database = await createTestDatabase();
  await migrate({ databaseUrl: database.databaseUrl, cells: CELLS });
  const pool = new Pool({ connectionString: database.databaseUrl, max: maxConnections });
  pool.on('error', () => {});
  return {
    databaseUrl: database.databaseUrl,
    pool,
    async close() {
      await pool.end();
      await database.drop();
    },
  };
}

let lastAccountId = 1_000_000n;

/** Opens a live account with paid credit and returns its number. */
export async function openFunded(pool: Pool, cell: CellName, amountNanoUsd = 1_000n): Promise<bigint> {
  lastAccountId += 1n;
  const accountId = lastAccountId;
  await openAccount(pool, cell, { accountId, environment: 'live' });
  if (amountNanoUsd > 0n) {
    const grant = { accountId, id: newId(), amountNanoUsd, source: 'paid', contra: 100 } as const;
    expect((await addGrant(pool, cell, grant)).status).toBe('applied');
  }
  return accountId;
}

/** Opens and funds accounts 1 to `count`, in one statement. */
export async function openMany(
  pool: Pool,
  cell: CellName,
  count: number,
  amountNanoUsd: bigint,
): Promise<void> {
  await pool.query(`SELECT count("${cell}".open_account(i, 'live')) FROM generate_series(1, ${count}) i`);
  const ids = Array.from({ length: count }, () => newId());
  await pool.query(
    `SELECT count("${cell}".add_grant(i, id, $2, 'paid', 100::smallint, 50::smallint, NULL))
     FROM unnest($1::uuid[]) WITH ORDINALITY AS q(id, i)`,
    [ids, amountNanoUsd],
  );
}

/** The invariant that every scenario ends with. */
export async function expectSoundBooks(pool: Pool, cell: CellName): Promise<void> {
  expect((await reconcileLedger(pool, cell)).breaks).toEqual([]);
}

export async function countTransfers(pool: Pool, cell: CellName, accountId: bigint): Promise<number> {
  const { rows } = await pool.query<{ count: string }>(
    `SELECT count(*) FROM "${cell}".transfer WHERE account_id = $1`,
    [accountId],
  );
  return Number(rows[0]?.count);
}

/**
 * Everything the ledger knows of an account: its row, and how many rows of each kind it has. Without `unburned`: a
 * refused order may have folded the spending into the grants, which says the same.
 */
export async function readState(pool: Pool, cell: CellName, accountId: bigint): Promise<unknown> {
  const count = (table: string) =>
    `(SELECT count(*)::int FROM "${cell}".${table} WHERE account_id = $1) AS ${table}s`;
  const { rows } = await pool.query(
    `SELECT to_jsonb(a) - 'unburned' AS account, ${['transfer', 'hold', 'credit_grant', 'operator_action'].map(count).join(', ')}
     FROM (SELECT $1::bigint AS account_id) q LEFT JOIN "${cell}".account a USING (account_id)`,
    [accountId],
  );
  return rows[0];
}
