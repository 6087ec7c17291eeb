import type { CellName, Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import type { Sealer } from '../lib/sealed.ts';
import type { FailureReason } from '../ports/delivery-provider.ts';
import type { Environment } from '../ports/environment.ts';
import { sealContext } from '../webhooks/events.ts';
import { isTransactionId } from './codes.ts';
import type {
  Idempotency,
  SendOrder,
  SentTopup,
  StoredAnswer,
  TopupName,
  TopupSender,
  TopupState,
} from './types.ts';

/** Statements on the top-ups of one cell. */

export interface TopupRow {
  topup_id: string;
  transaction_id: string;
  account_id: string;
  environment: Environment;
  platform: string;
  amount: string;
  recipient_email: string | null;
  reference: string | null;
  metadata: Record<string, string>;
  provider: string;
  asked: boolean;
  state: TopupState;
  failure_reason: FailureReason | null;
  voucher: string | null;
  new_balance: string | null;
  created_at: Date;
  updated_at: Date;
}

/** A top-up together with whose it is and who delivers it. */
export type OwnedTopup = SentTopup & {
  accountId: bigint;
  provider: string;
  /** Whether somebody outside delivers it. */
  isOutside: boolean;
};

const COLUMNS =
  'topup_id, transaction_id, account_id, environment, platform, amount, recipient_email, reference, metadata, ' +
  'provider, asked, state, failure_reason, voucher, new_balance, created_at, updated_at';

export function toTopup(row: TopupRow, sealer: Sealer): OwnedTopup {
  const context = sealContext(row.environment, row.transaction_id);
  return {
    topupId: row.topup_id,
    transactionId: row.transaction_id,
    accountId: BigInt(row.account_id),
    environment: row.environment,
    platform: row.platform,
    amountNanoUsd: BigInt(row.amount),
    recipientEmail: row.recipient_email ?? undefined,
    reference: row.reference ?? undefined,
    metadata: row.metadata,
    provider: row.provider,
    isOutside: row.asked,
    state: row.state,
    failureReason: row.failure_reason ?? undefined,
    voucherCode: row.voucher === null ? undefined : sealer.open(row.voucher, context),
    newBalanceNanoUsd: row.new_balance === null ? undefined : BigInt(row.new_balance),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

export interface Acceptance {
  outcome: 'accepted' | 'repeated' | 'duplicate' | 'cap' | 'insufficient';
  available: string | null;
  /** The top-up that the idempotency key or the reference stands for. */
  existing: string | null;
  same_request: boolean | null;
  status: number | null;
  /** Sealed. */
  body: string | null;
  age_ms: string | null;
}

/** Accepts a top-up or says why not: one statement, under the lock of the wallet. */
export async function acceptTopup(
  db: Queryable,
  sender: TopupSender,
  topup: SendOrder & { topupId: string; transactionId: string; provider: string; isOutside: boolean },
  options: { idempotency: Idempotency | undefined; holdMs: number; leaseMs: number },
): Promise<Acceptance> {
  const { cell, accountId } = sender.customer;
  const { rows } = await db.query<Acceptance & Record<string, unknown>>({
    name: `${cell}.accept_topup`,
    text: `SELECT * FROM "${cell}".accept_topup($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
    values: [
      topup.topupId,
      topup.transactionId,
      accountId,
      sender.environment,
      sender.keyId,
      topup.platform,
      topup.amountNanoUsd,
      topup.recipientEmail ?? null,
      topup.reference ?? null,
      JSON.stringify(topup.metadata),
      topup.provider,
      topup.isOutside,
      sender.spendingCapNanoUsd ?? null,
      options.idempotency?.key ?? null,
      options.idempotency?.requestHash ?? null,
      options.holdMs,
      options.leaseMs,
    ],
  });
  assert(rows[0], 'accept_topup answers one row');
  return rows[0];
}

/** What a stored answer belongs to (see `lib/sealed.ts`): it holds the code, which is money. */
function answerContext({ keyId }: TopupSender, idempotencyKey: string): string {
  return `answer ${keyId} ${idempotencyKey}`;
}

/** The answer that was stored for a call; undefined while there is none. */
export function readAnswer(
  sealer: Sealer,
  sender: TopupSender,
  idempotencyKey: string,
  { status, body }: Acceptance,
): StoredAnswer | undefined {
  if (status === null || body === null) return undefined;
  return { status, body: sealer.open(body, answerContext(sender, idempotencyKey)) };
}

/** Stores the first answer to a call; a later one changes nothing. */
export async function storeAnswer(
  db: Queryable,
  sealer: Sealer,
  sender: TopupSender,
  idempotencyKey: string,
  { status, body }: StoredAnswer,
): Promise<void> {
  const { cell } = sender.customer;
  await db.query({
    name: `${cell}.store_topup_answer`,
    text: `UPDATE "${cell}".topup_call SET status = $3, body = $4
           WHERE key_id = $1 AND idempotency_key = $2 AND status IS NULL`,
    values: [sender.keyId, idempotencyKey, status, sealer.seal(body, answerContext(sender, idempotencyKey))],
  });
}

/** One top-up of an owner. */
export async function findTopup(
  db: Queryable,
  sealer: Sealer,
  { customer: { cell, accountId } }: TopupSender,
  name: TopupName | { topupId: string },
): Promise<OwnedTopup | undefined> {
  if ('transactionId' in name && !isTransactionId(name.transactionId)) return undefined;
  const [column, value] =
    'topupId' in name
      ? ['topup_id', name.topupId]
      : 'reference' in name
        ? ['reference', name.reference]
        : ['transaction_id', name.transactionId];
  const { rows } = await db.query<TopupRow>({
    name: `${cell}.find_topup_by_${column}`,
    text: `SELECT ${COLUMNS} FROM "${cell}".topup WHERE ${column} = $1 AND account_id = $2`,
    values: [value, accountId],
  });
  return rows[0] && toTopup(rows[0], sealer);
}

/** An owner's top-ups, newest first. */
export async function listTopups(
  db: Queryable,
  sealer: Sealer,
  { customer: { cell, accountId } }: TopupSender,
  page: { limit: number; before: string | undefined },
): Promise<SentTopup[]> {
  const { rows } = await db.query<TopupRow>({
    name: `${cell}.list_topups`,
    text: `SELECT ${COLUMNS} FROM "${cell}".topup
           WHERE account_id = $1 AND ($2::text IS NULL OR topup_id < (
             SELECT topup_id FROM "${cell}".topup WHERE transaction_id = $2 AND account_id = $1))
           ORDER BY topup_id DESC LIMIT $3`,
    values: [accountId, page.before ?? null, page.limit],
  });
  return rows.map(row => toTopup(row, sealer));
}

/**
 * Takes pending top-ups of one provider whose time has come, so that no other worker has them for `leaseMs`; of
 * all providers but the known ones where none is named.
 * @returns them with their age by the database's clock
 */
export async function claimDueTopups(
  db: Queryable,
  sealer: Sealer,
  cell: CellName,
  options: { provider: string | undefined; known: readonly string[]; limit: number; leaseMs: number },
): Promise<{ topup: OwnedTopup; ageMs: number }[]> {
  const { rows } = await db.query<TopupRow & { age_ms: string }>({
    name: `${cell}.claim_due_topups`,
    text: `UPDATE "${cell}".topup
           SET due_at = clock_timestamp() + $2 * interval '1 ms', attempts = attempts + 1
           WHERE topup_id IN (
             SELECT topup_id FROM "${cell}".topup WHERE state = 'pending' AND due_at <= clock_timestamp()
               AND CASE WHEN $3::text IS NULL THEN provider <> ALL ($4::text[]) ELSE provider = $3 END
             ORDER BY due_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED)
           RETURNING ${COLUMNS}, floor(extract(epoch FROM clock_timestamp() - created_at) * 1000)::bigint AS age_ms`,
    values: [options.limit, options.leaseMs, options.provider ?? null, options.known],
  });
  return rows.map(row => ({ topup: toTopup(row, sealer), ageMs: Number(row.age_ms) }));
}

/** Lets a pending top-up be looked at again after so long. */
export async function postponeTopup(
  db: Queryable,
  cell: CellName,
  topupId: string,
  afterMs: number,
): Promise<void> {
  await db.query({
    name: `${cell}.postpone_topup`,
    text: `UPDATE "${cell}".topup SET due_at = clock_timestamp() + $2 * interval '1 ms'
           WHERE topup_id = $1 AND state = 'pending'`,
    values: [topupId, afterMs],
  });
}

/** Locks a top-up for this transaction if it is still pending. */
export async function lockPendingTopup(db: Queryable, cell: CellName, topupId: string): Promise<boolean> {
  const { rows } = await db.query({
    name: `${cell}.lock_pending_topup`,
    text: `SELECT FROM "${cell}".topup WHERE topup_id = $1 AND state = 'pending' FOR NO KEY UPDATE`,
    values: [topupId],
  });
  return rows.length > 0;
}

/** Ends a pending top-up without a charge: see `end_topup` in the migrations. */
export async function endTopup(
  db: Queryable,
  cell: CellName,
  end: {
    topupId: string;
    state: 'failed' | 'cancelled';
    reason: FailureReason | undefined;
    unlessAsked: boolean;
    payload: Record<string, unknown>;
  },
): Promise<{ ended: boolean; availableNanoUsd: bigint }> {
  const { rows } = await db.query<{ ended: boolean; available: string | null }>({
    name: `${cell}.end_topup`,
    text: `SELECT ended, available FROM "${cell}".end_topup($1, $2, $3, $4, $5)`,
    values: [end.topupId, end.state, end.reason ?? null, end.unlessAsked, JSON.stringify(end.payload)],
  });
  assert(rows[0], 'end_topup answers one row');
  return { ended: rows[0].ended, availableNanoUsd: BigInt(rows[0].available ?? '0') };
}

/** Deletes answers whose time is over. @returns how many */
export async function deleteOldAnswers(db: Queryable, cell: CellName, limit: number): Promise<number> {
  const result = await db.query({
    name: `${cell}.delete_old_topup_answers`,
    text: `DELETE FROM "${cell}".topup_call WHERE (key_id, idempotency_key) IN (
             SELECT key_id, idempotency_key FROM "${cell}".topup_call
             WHERE created_at < now() - interval '24 hours' ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED)`,
    values: [limit],
  });
  return result.rowCount ?? 0;
}
