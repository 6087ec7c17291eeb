import type { CellName, Queryable } from '../db/queryable.ts';
import type { Environment } from '../ports/environment.ts';
import type { Payment, PaymentState, Purpose, PurposeResult } from './payment.ts';
import { decodeSigned } from './signed-codec.ts';

/** Statements on the payments of one cell. Each is one round trip by key. */

/** A row of the table, as the statements on payments read it. */
export interface PaymentRow {
  payment_id: string;
  account_id: string;
  environment: Environment;
  source: string;
  facilitator: string;
  said_settled: boolean;
  said_transaction: string | null;
  doubted_at: Date | null;
  signed: unknown;
  purpose: Purpose | null;
  purpose_result: PurposeResult | null;
  state: PaymentState;
  reason: string | null;
  from_block: string;
  transaction: string | null;
  credited_nano_usd: string | null;
  available_nano_usd: string | null;
  final_at: Date | null;
  created_at: Date;
  updated_at: Date;
}

export const PAYMENT_COLUMNS =
  'payment_id, account_id, environment, source, facilitator, said_settled, said_transaction, doubted_at, ' +
  'signed, purpose, purpose_result, ' +
  'state, reason, from_block, transaction, ' +
  'credited_nano_usd, available_nano_usd, final_at, created_at, updated_at';

export function toPayment(row: PaymentRow): Payment {
  const optional = (value: string | null) => (value === null ? undefined : BigInt(value));
  return {
    paymentId: row.payment_id,
    accountId: BigInt(row.account_id),
    environment: row.environment,
    source: row.source,
    facilitator: row.facilitator,
    saidSettled: row.said_settled,
    doubt:
      row.said_settled && row.doubted_at
        ? { since: row.doubted_at, named: row.said_transaction ?? undefined }
        : undefined,
    signed: decodeSigned(row.signed),
    purpose: row.purpose ?? undefined,
    purposeResult: row.purpose_result ?? undefined,
    state: row.state,
    reason: row.reason ?? undefined,
    fromBlock: BigInt(row.from_block),
    transaction: row.transaction ?? undefined,
    creditedNanoUsd: optional(row.credited_nano_usd),
    availableNanoUsd: optional(row.available_nano_usd),
    final: row.final_at !== null,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

export async function findPayment(
  db: Queryable,
  cell: CellName,
  paymentId: string,
): Promise<Payment | undefined> {
  const result = await db.query<PaymentRow>({
    name: `${cell}.find_payment`,
    text: `SELECT ${PAYMENT_COLUMNS} FROM "${cell}".payment WHERE payment_id = $1`,
    values: [paymentId],
  });
  const [row] = result.rows;
  return row && toPayment(row);
}

/** Whether the outcome of any payment of the account is unknown; payments that are being settled do not count. */
export async function hasPendingPayment(db: Queryable, cell: CellName, accountId: bigint): Promise<boolean> {
  const result = await db.query<{ pending: boolean }>({
    name: `${cell}.has_pending_payment`,
    text: `SELECT EXISTS (SELECT FROM "${cell}".payment WHERE account_id = $1 AND state = 'pending') AS pending`,
    values: [accountId],
  });
  return result.rows[0]?.pending === true;
}

export interface PendingProgress {
  reason: string;
  transaction?: string;
  /** The facilitator says, or has said before, that the money moved. */
  saidSettled?: boolean;
  /** How long ago it said so, if that was now. */
  saidForMs?: number;
  /** Whether the chain shows anything of the payment; absent when it could not be read. */
  seen?: boolean;
  /** So long after the facilitator's word a payment of which the chain shows nothing is in doubt. */
  doubtAfterMs: number;
  pauseMs?: number;
}

/**
 * Notes that nobody waits for an open payment any more; one that is credited or failed stays so. The reconciler looks at it
 * again after `pauseMs`, or else after a pause that doubles with every attempt, from two seconds to ten minutes.
 */
export async function notePending(
  db: Queryable,
  cell: CellName,
  paymentId: string,
  progress: PendingProgress,
): Promise<void> {
  const saidAt = `CASE WHEN said_settled THEN said_settled_at WHEN $4 THEN now() - $6 * interval '1 ms' END`;
  // A reversal forgets what the facilitator said, and with it what was doubted.
  const doubtedAt = 'CASE WHEN said_settled THEN doubted_at END';
  await db.query({
    name: `${cell}.note_payment_pending`,
    text: `UPDATE "${cell}".payment SET state = CASE state WHEN 'reversed' THEN state ELSE 'pending' END,
             reason = $2, transaction = coalesce($3, transaction), said_settled = said_settled OR $4,
             said_settled_at = ${saidAt},
             said_transaction = CASE WHEN said_settled THEN said_transaction WHEN $4 THEN $3 END,
             doubted_at = CASE WHEN $7 THEN NULL
               WHEN NOT $7 AND ${saidAt} <= now() - $8 * interval '1 ms' THEN coalesce(${doubtedAt}, now())
               ELSE ${doubtedAt} END,
             due_at = now() + coalesce($5::float8, 1000 * least(600, 2 ^ least(attempts + 1, 10))) * interval '1 ms',
             updated_at = now()
           WHERE payment_id = $1 AND state IN ('settling', 'pending', 'reversed')`,
    values: [
      paymentId,
      progress.reason,
      progress.transaction ?? null,
      progress.saidSettled === true,
      progress.pauseMs ?? null,
      progress.saidForMs ?? 0,
      progress.seen ?? null,
      progress.doubtAfterMs,
    ],
  });
}

/**
 * Hands an open payment to another facilitator, because the one that had it provably sent nothing. A reconciler that
 * has taken the payment on may have asked the old one since, so then it stays there.
 * @returns false when it is not open any more or somebody else has moved it or works on it
 */
export async function moveToFacilitator(
  db: Queryable,
  cell: CellName,
  paymentId: string,
  move: { from: string; to: string },
): Promise<boolean> {
  const result = await db.query({
    name: `${cell}.move_payment_to_facilitator`,
    text: `UPDATE "${cell}".payment SET facilitator = $3, updated_at = now()
           WHERE payment_id = $1 AND facilitator = $2 AND state = 'settling' AND attempts = 0`,
    values: [paymentId, move.from, move.to],
  });
  return result.rowCount === 1;
}

/**
 * Keeps with a payment that its facilitator says that the money moved, whatever has become of the payment. What it said
 * before a reversal is forgotten, and with it what was doubted.
 */
export async function keepClaim(db: Queryable, cell: CellName, paymentId: string): Promise<void> {
  await db.query({
    name: `${cell}.keep_claim`,
    text: `UPDATE "${cell}".payment SET said_settled = true, said_settled_at = now(), said_transaction = NULL,
             doubted_at = NULL
           WHERE payment_id = $1 AND NOT said_settled`,
    values: [paymentId],
  });
}

/**
 * Ends an open payment that the chain proves can not, or did not, move money. One that was reverted is looked
 * at once more at `recheckAt`, because its authorization stays good until it expires and anybody may send it.
 */
export async function failPayment(
  db: Queryable,
  cell: CellName,
  paymentId: string,
  failure: { reason: string; recheckAt: Date; transaction?: string },
): Promise<void> {
  await db.query({
    name: `${cell}.fail_payment`,
    text: `SELECT "${cell}".fail_payment($1, $2, $3, $4)`,
    values: [paymentId, failure.reason, failure.transaction ?? null, failure.recheckAt],
  });
}

/** Adds to what is remembered of a purchase, in the transaction that applied it. */
export async function extendPurposeResult(
  db: Queryable,
  cell: CellName,
  paymentId: string,
  addition: PurposeResult,
): Promise<void> {
  await db.query({
    name: `${cell}.extend_purpose_result`,
    text: `UPDATE "${cell}".payment SET purpose_result = purpose_result || $2::jsonb WHERE payment_id = $1`,
    values: [paymentId, addition],
  });
}

/**
 * Takes open payments, and reverted ones that are to be looked at once more, whose time has come, so that no
 * other worker takes them for `leaseMs`.
 * @param options.without lanes to leave alone, each as `<network> <facilitator>`
 */
export async function claimOpenPayments(
  db: Queryable,
  cell: CellName,
  options: { limit: number; leaseMs: number; without: readonly string[] },
): Promise<Payment[]> {
  const result = await db.query<PaymentRow>({
    name: `${cell}.claim_open_payments`,
    text: `UPDATE "${cell}".payment SET due_at = now() + $2 * interval '1 ms', attempts = attempts + 1
           WHERE payment_id IN (
             SELECT payment_id FROM "${cell}".payment
             WHERE (state IN ('settling', 'pending', 'reversed') OR (state = 'failed' AND reason = 'reverted'))
               AND due_at <= now() AND network || ' ' || facilitator <> ALL($3::text[])
             ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
           RETURNING ${PAYMENT_COLUMNS}`,
    values: [options.limit, options.leaseMs, options.without],
  });
  return result.rows.map(toPayment);
}

/** Makes every open payment due now: at start, after a crash, nobody is waiting for them. */
export async function expireLeases(db: Queryable, cell: CellName): Promise<void> {
  await db.query({
    name: `${cell}.expire_payment_leases`,
    text: `UPDATE "${cell}".payment SET due_at = now()
           WHERE state IN ('settling', 'pending', 'reversed') AND due_at > now()`,
    values: [],
  });
}

/** Registers which environment's money a network carries. */
export async function registerNetworks(
  db: Queryable,
  cell: CellName,
  networks: readonly { network: string; environment: Environment }[],
): Promise<void> {
  await db.query({
    name: `${cell}.register_networks`,
    text: `INSERT INTO "${cell}".network (network, environment)
           SELECT n, e FROM unnest($1::text[], $2::text[]) u(n, e) ON CONFLICT DO NOTHING`,
    values: [networks.map(n => n.network), networks.map(n => n.environment)],
  });
}
