import type { Queryable } from '../db/queryable.ts';
import type { Environment } from '../ports/environment.ts';
import type { ExactPayment } from '../ports/payment.ts';
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

/**
 * Stores a settlement before anything is sent.
 * @returns false when the payment was stored before
 */
export async function openForeignSettlement(
  db: Queryable,
  settlement: Pick<ForeignSettlement, 'paymentId' | 'caller' | 'signed' | 'fromBlock'> & {
    environment: Environment;
  },
): Promise<boolean> {
  const { signed } = settlement;
  const { rowCount } = await db.query({
    name: 'directory.open_facilitator_settlement',
    text: `INSERT INTO directory.facilitator_settlement
             (payment_id, identity, environment, caller, network, signed, from_block)
           VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
    values: [
      settlement.paymentId,
      signed.identity,
      settlement.environment,
      settlement.caller,
      signed.network,
      encodeSigned(signed),
      settlement.fromBlock,
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
    text: `SELECT payment_id, caller, signed, from_block, state, reason, transaction
           FROM directory.facilitator_settlement WHERE identity = $1`,
    values: [identity],
  });
  const [row] = rows;
  return (
    row && {
      paymentId: row.payment_id,
      caller: row.caller,
      signed: decodeSigned(row.signed),
      fromBlock: BigInt(row.from_block),
      state: row.state,
      reason: row.reason ?? undefined,
      transaction: row.transaction ?? undefined,
    }
  );
}

/** Notes what the chain proves, or where to look. What is settled stays so; what failed may still be settled. */
export async function noteForeignSettlement(
  db: Queryable,
  paymentId: string,
  found: { state: ForeignSettlement['state']; reason?: string; transaction?: string },
): Promise<void> {
  await db.query({
    name: 'directory.note_facilitator_settlement',
    text: `UPDATE directory.facilitator_settlement
           SET state = $2, reason = $3, transaction = coalesce($4, transaction), updated_at = now()
           WHERE payment_id = $1 AND state <> 'settled'`,
    values: [paymentId, found.state, found.reason ?? null, found.transaction ?? null],
  });
}
