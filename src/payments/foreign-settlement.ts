import type { Queryable } from '../db/queryable.ts';
import type { ObservedTransfer, TransferPlace } from '../ports/chain.ts';
import type { Environment } from '../ports/environment.ts';
import type { ExactPayment } from '../ports/payment.ts';
import type { UndecidedPayment } from './receipt-store.ts';
import { decodeSigned, encodeSigned } from './signed-codec.ts';

/** A payment that we settle for another seller: the money goes to that seller and nothing is credited here. */
export interface ForeignSettlement {
  paymentId: string;
  /** Name of the API key that asked. */
  caller: string;
  signed: ExactPayment;
  fromBlock: bigint;
  /** settling: not known yet. The others are proven by the chain. */
  state: 'settling' | 'settled' | 'failed';
  reason: string | undefined;
  transaction: string | undefined;
  /** Where its transfer is, once it is settled. */
  place: TransferPlace | undefined;
  /** No reorganisation can undo it any more. */
  final: boolean;
  /** It was settled, and a reorganisation undid that. */
  undone: boolean;
}

/** What is known of one before anything is sent. */
export type NewForeignSettlement = Pick<ForeignSettlement, 'paymentId' | 'caller' | 'signed' | 'fromBlock'>;

export interface ForeignSettlementRow {
  payment_id: string;
  caller: string;
  signed: unknown;
  from_block: string;
  state: ForeignSettlement['state'];
  reason: string | null;
  transaction: string | null;
  log_index: number | null;
  block_number: string | null;
  block_hash: string | null;
  final_at: Date | null;
  undone_at: Date | null;
}

export const FOREIGN_COLUMNS =
  'payment_id, caller, signed, from_block, state, reason, transaction, log_index, block_number, block_hash, ' +
  'final_at, undone_at';

export function toForeignSettlement(row: ForeignSettlementRow): ForeignSettlement {
  return {
    paymentId: row.payment_id,
    caller: row.caller,
    signed: decodeSigned(row.signed),
    fromBlock: BigInt(row.from_block),
    state: row.state,
    reason: row.reason ?? undefined,
    transaction: row.transaction ?? undefined,
    place: placeOf(row),
    final: row.final_at !== null,
    undone: row.undone_at !== null,
  };
}

/** An older version did not keep the place: no block has the hash that is missing, so that the first look finds it. */
function placeOf(row: ForeignSettlementRow): TransferPlace | undefined {
  const { state, transaction, log_index: logIndex } = row;
  if (state !== 'settled' || transaction === null) return undefined;
  const blockNumber = BigInt(row.block_number ?? row.from_block);
  return { transaction, logIndex: logIndex ?? 0, blockNumber, blockHash: row.block_hash ?? undefined };
}

/**
 * Stores a settlement before anything is sent.
 * @param settlement.leaseMs how long the request alone works on it before the reconciler may
 * @returns false when the payment was stored before
 */
export async function openForeignSettlement(
  db: Queryable,
  settlement: NewForeignSettlement & { environment: Environment; leaseMs: number },
): Promise<boolean> {
  const { signed } = settlement;
  const { rowCount } = await db.query({
    name: 'directory.open_facilitator_settlement',
    text: `INSERT INTO directory.facilitator_settlement
             (payment_id, identity, environment, caller, network, signed, from_block, due_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8 * interval '1 ms') ON CONFLICT DO NOTHING`,
    values: [
      settlement.paymentId,
      signed.identity,
      settlement.environment,
      settlement.caller,
      signed.network,
      encodeSigned(signed),
      settlement.fromBlock,
      settlement.leaseMs,
    ],
  });
  return rowCount === 1;
}

export async function findForeignSettlement(
  db: Queryable,
  identity: string,
): Promise<ForeignSettlement | undefined> {
  const { rows } = await db.query<ForeignSettlementRow>({
    name: 'directory.find_facilitator_settlement',
    text: `SELECT ${FOREIGN_COLUMNS} FROM directory.facilitator_settlement WHERE identity = $1`,
    values: [identity],
  });
  const [row] = rows;
  return row && toForeignSettlement(row);
}

/**
 * Notes that the chain proves the settlement, and where; also of one that was called failed before.
 * @param options.firstCheckMs when the transfer is looked at again, in case a reorganisation undid it
 */
export async function noteForeignSettled(
  db: Queryable,
  paymentId: string,
  transfer: ObservedTransfer,
  options: { firstCheckMs: number },
): Promise<void> {
  await db.query({
    name: 'directory.note_facilitator_settled',
    text: `UPDATE directory.facilitator_settlement
           SET state = 'settled', reason = NULL, transaction = $2, log_index = $3, block_number = $4, block_hash = $5,
             undone_at = NULL, attempts = 0, due_at = now() + $6 * interval '1 ms', updated_at = now()
           WHERE payment_id = $1 AND state <> 'settled'`,
    values: [
      paymentId,
      transfer.transaction,
      transfer.logIndex,
      transfer.blockNumber,
      transfer.blockHash,
      options.firstCheckMs,
    ],
  });
}

/**
 * Notes that the chain proves the failure, or where to look and why it is not known yet; then it is due again after a pause
 * that doubles with every attempt, from two seconds to ten minutes. What is settled stays so.
 */
export async function noteForeignSettlement(
  db: Queryable,
  paymentId: string,
  found: { state: 'settling' | 'failed'; reason: string; transaction?: string },
): Promise<void> {
  await db.query({
    name: 'directory.note_facilitator_settlement',
    text: `UPDATE directory.facilitator_settlement
           SET state = $2, reason = $3, transaction = coalesce($4, transaction), updated_at = now(),
             due_at = now() + 1000 * least(600, 2 ^ least(attempts + 1, 10)) * interval '1 ms'
           WHERE payment_id = $1 AND (state = 'settling' OR state = 'failed' AND $2 <> 'settling')`,
    values: [paymentId, found.state, found.reason, found.transaction ?? null],
  });
}

/**
 * Takes settlements that are not known yet and whose time has come, so that no other worker takes them for `leaseMs`.
 * @param options.without networks to leave alone
 */
export async function claimForeignSettlements(
  db: Queryable,
  options: { limit: number; leaseMs: number; without: readonly string[] },
): Promise<ForeignSettlement[]> {
  const { rows } = await db.query<ForeignSettlementRow>({
    name: 'directory.claim_facilitator_settlements',
    text: `UPDATE directory.facilitator_settlement
           SET due_at = now() + $2 * interval '1 ms', attempts = attempts + 1
           WHERE payment_id IN (
             SELECT payment_id FROM directory.facilitator_settlement
             WHERE state = 'settling' AND due_at <= now() AND network <> ALL($3::text[])
             ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
           RETURNING ${FOREIGN_COLUMNS}`,
    values: [options.limit, options.leaseMs, options.without],
  });
  return rows.map(toForeignSettlement);
}

/** Makes everything that is not known yet due now. */
export async function expireForeignLeases(db: Queryable): Promise<void> {
  await db.query({
    name: 'directory.expire_facilitator_settlement_leases',
    text: `UPDATE directory.facilitator_settlement SET due_at = now() WHERE state = 'settling' AND due_at > now()`,
    values: [],
  });
}

/** Settlements that were accepted before a moment and are not known yet, oldest first. */
export async function listUndecidedForeign(
  db: Queryable,
  before: Date,
  limit: number,
): Promise<UndecidedPayment[]> {
  const { rows } = await db.query<ForeignSettlementRow & { created_at: Date }>({
    name: 'directory.list_undecided_facilitator_settlements',
    text: `SELECT ${FOREIGN_COLUMNS}, created_at FROM directory.facilitator_settlement
           WHERE state = 'settling' AND created_at <= $1 ORDER BY created_at LIMIT $2`,
    values: [before, limit],
  });
  return rows.map(row => {
    const { signed, caller, paymentId, reason, transaction } = toForeignSettlement(row);
    const { network, payer, amountBaseUnits } = signed;
    const createdAt = row.created_at;
    return {
      paymentId,
      caller,
      network,
      payer,
      amountBaseUnits,
      state: 'settling',
      reason,
      transaction,
      createdAt,
    };
  });
}
