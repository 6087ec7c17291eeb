import type { CellName, Queryable } from '../db/queryable.ts';
import type { At } from './calls.ts';
import type { Environment } from './chart.ts';

/** What an account has. Amounts in nano-USD; available = posted − held + credit line. */
export interface Balance {
  environment: Environment;
  frozen: boolean;
  postedNanoUsd: bigint;
  heldNanoUsd: bigint;
  availableNanoUsd: bigint;
  creditLineNanoUsd: bigint;
}

interface BalanceRow {
  environment: Environment;
  frozen: boolean;
  posted: string;
  held: string;
  credit_line: string;
  due: boolean;
}

/**
 * Reads the numbers that admission uses. Grants that have just ended are forfeited first, so that the
 * balance shown is the balance that can be spent.
 * @returns undefined for an account that was never opened.
 */
export async function readBalance(
  db: Queryable,
  cell: CellName,
  accountId: bigint,
  at: At = {},
): Promise<Balance | undefined> {
  const row = await readRow(db, cell, accountId, at);
  if (!row) return undefined;
  const postedNanoUsd = BigInt(row.posted);
  const heldNanoUsd = BigInt(row.held);
  const creditLineNanoUsd = BigInt(row.credit_line);
  return {
    environment: row.environment,
    frozen: row.frozen,
    postedNanoUsd,
    heldNanoUsd,
    availableNanoUsd: postedNanoUsd - heldNanoUsd + creditLineNanoUsd,
    creditLineNanoUsd,
  };
}

async function readRow(
  db: Queryable,
  cell: CellName,
  accountId: bigint,
  at: At,
): Promise<BalanceRow | undefined> {
  const read = () =>
    db.query<BalanceRow>({
      name: `ledger_balance_${cell}`,
      text: `SELECT environment, frozen, posted, held, credit_line,
               next_due <= coalesce($2::timestamptz, clock_timestamp()) AS due
             FROM "${cell}".account WHERE account_id = $1`,
      values: [accountId, at.now ?? null],
    });
  const { rows } = await read();
  if (!rows[0]?.due) return rows[0];
  await endDueGrants(db, cell, accountId, at);
  return (await read()).rows[0];
}

async function endDueGrants(db: Queryable, cell: CellName, accountId: bigint, at: At): Promise<void> {
  await db.query({
    name: `ledger_touch_account_${cell}`,
    text: `SELECT "${cell}".touch_account($1, $2)`,
    values: [accountId, at.now ?? null],
  });
}

/** Credit that is left of one grant. Amounts in nano-USD. */
export interface GrantBalance {
  id: string;
  source: 'paid' | 'promotional' | 'refund' | 'adjustment';
  amountNanoUsd: bigint;
  remainingNanoUsd: bigint;
  priority: number;
  createdAt: Date;
  /** Null: never. */
  expiresAt: Date | null;
}

interface GrantRow {
  id: string;
  source: GrantBalance['source'];
  amount: string;
  remaining: string;
  priority: number;
  created_at: Date;
  expires_at: Date | null;
}

/**
 * Lists the grants that still have credit, in the order of use, with the spending that is not folded in
 * yet taken off on the fly. Their sum is the posted balance, unless the credit line is in use.
 * @param limit at most 1,000.
 */
export async function listGrants(
  db: Queryable,
  cell: CellName,
  accountId: bigint,
  { limit = 100, now }: At & { limit?: number } = {},
): Promise<GrantBalance[]> {
  await endDueGrants(db, cell, accountId, { now });
  const { rows } = await db.query<GrantRow>({
    name: `ledger_grants_${cell}`,
    text: `WITH ordered AS (
             SELECT g.*, a.unburned, sum(g.remaining) OVER in_order AS total
             FROM "${cell}".credit_grant g JOIN "${cell}".account a USING (account_id)
             WHERE g.account_id = $1 AND g.remaining > 0
             WINDOW in_order AS (ORDER BY g.priority, g.expires_at, g.created_at, g.id)
           )
           SELECT id, source, amount, least(remaining, total - unburned) AS remaining, priority, created_at,
             nullif(expires_at, 'infinity') AS expires_at
           FROM ordered WHERE total > unburned
           ORDER BY ordered.priority, ordered.expires_at, ordered.created_at, id LIMIT $2`,
    values: [accountId, Math.min(limit, 1_000)],
  });
  return rows.map(row => ({
    id: row.id,
    source: row.source,
    amountNanoUsd: BigInt(row.amount),
    remainingNanoUsd: BigInt(row.remaining),
    priority: row.priority,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
  }));
}

/**
 * The posted balance as it was at the end of a millisecond, in nano-USD. For instants before the log reaches back, the
 * oldest balance that is known; zero for an account without transfers.
 */
export async function readBalanceAt(
  db: Queryable,
  cell: CellName,
  accountId: bigint,
  at: Date,
): Promise<bigint> {
  const { rows } = await db.query<{ balance: string | null }>({
    name: `ledger_balance_at_${cell}`,
    text: `SELECT coalesce(
             (SELECT balance_after FROM "${cell}".transfer
              WHERE -account_id = -$1::bigint AND created_at < $2::timestamptz + interval '1 millisecond'
              ORDER BY seq DESC LIMIT 1),
             (SELECT balance_after - amount FROM "${cell}".transfer
              WHERE -account_id = -$1::bigint ORDER BY seq LIMIT 1),
             -- All its transfers have left the log, so nothing has moved since.
             (SELECT posted FROM "${cell}".account WHERE account_id = $1)) AS balance`,
    values: [accountId, at],
  });
  return BigInt(rows[0]?.balance ?? '0');
}
