import type { Queryable } from '../db/queryable.ts';
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
}

interface ForeignSettlementRow {
  payment_id: string;
  caller: string;
  signed: unknown;
  from_block: string;
  state: ForeignSettlement['state'];
  reason: string | null;
  transaction: string | null;
}

const COLUMNS = 'payment_id, caller, signed, from_block, state, reason, transaction';

function toSettlement(row: ForeignSettlementRow): ForeignSettlement {
  return {
    paymentId: row.payment_id,
    caller: row.caller,
    signed: decodeSigned(row.signed),
    fromBlock: BigInt(row.from_block),
    state: row.state,
    reason: row.reason ?? undefined,
    transaction: row.transaction ?? undefined,
  };
}

/**
 * Stores a settlement before anything is sent.
 * @param settlement.leaseMs how long the request alone works on it before the reconciler may
 * @returns false when the payment was stored before
 */
export async function openForeignSettlement(
  db: Queryable,
  settlement: Pick<ForeignSettlement, 'paymentId' | 'caller' | 'signed' | 'fromBlock'> & {
    environment: Environment;
    leaseMs: number;
  },
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
    text: `SELECT ${COLUMNS} FROM directory.facilitator_settlement WHERE identity = $1`,
    values: [identity],
  });
  const [row] = rows;
  return row && toSettlement(row);
}

/**
 * Notes what the chain proves, or where to look and why it is not known yet; then it is due again after a pause that doubles
 * with every attempt, from two seconds to ten minutes. What is settled stays so; what failed may still be settled.
 */
export async function noteForeignSettlement(
  db: Queryable,
  paymentId: string,
  found: { state: ForeignSettlement['state']; reason?: string; transaction?: string },
): Promise<void> {
  await db.query({
    name: 'directory.note_facilitator_settlement',
    text: `UPDATE directory.facilitator_settlement
           SET state = $2, reason = $3, transaction = coalesce($4, transaction), updated_at = now(),
             due_at = now() + 1000 * least(600, 2 ^ least(attempts + 1, 10)) * interval '1 ms'
           WHERE payment_id = $1 AND (state = 'settling' OR state = 'failed' AND $2 <> 'settling')`,
    values: [paymentId, found.state, found.reason ?? null, found.transaction ?? null],
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
           RETURNING ${COLUMNS}`,
    values: [options.limit, options.leaseMs, options.without],
  });
  return rows.map(toSettlement);
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
    text: `SELECT ${COLUMNS}, created_at FROM directory.facilitator_settlement
           WHERE state = 'settling' AND created_at <= $1 ORDER BY created_at LIMIT $2`,
    values: [before, limit],
  });
  return rows.map(row => {
    const { signed, caller, paymentId, reason, transaction } = toSettlement(row);
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
