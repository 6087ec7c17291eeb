import type { CellName, Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import type { Environment } from '../ports/environment.ts';
import type { PaymentState } from './payment.ts';

/** Statements that compare what arrived on chain with what was credited. */

/** Names what is scanned: everything that one asset brings to one receiver. */
export interface ReceiptKey {
  network: string;
  asset: string;
  payTo: string;
}

/** A transfer to our receiver that is in nobody's credit. */
export interface UnappliedReceipt {
  network: string;
  transaction: string;
  logIndex: number;
  blockNumber: bigint;
  from: string;
  amountBaseUnits: bigint;
  /** The payment that it settles; undefined for money that no payment explains. */
  paymentId: string | undefined;
}

/** A payment that was credited by a transfer. */
export interface CreditedPayment {
  paymentId: string;
  network: string;
  transaction: string;
  logIndex: number;
  blockNumber: bigint;
  creditedNanoUsd: bigint;
}

/** Up to which block a receiver is accounted for; undefined before the first scan. */
export async function findScannedTo(db: Queryable, key: ReceiptKey): Promise<bigint | undefined> {
  const result = await db.query<{ scanned_to: string }>({
    name: 'directory.find_receipt_cursor',
    text: 'SELECT scanned_to FROM directory.receipt_cursor WHERE network = $1 AND asset = $2 AND pay_to = $3',
    values: [key.network, key.asset, key.payTo],
  });
  const [row] = result.rows;
  return row && BigInt(row.scanned_to);
}

/** Moves the cursor on, never back: two scans at once do no harm. */
export async function saveScannedTo(db: Queryable, key: ReceiptKey, scannedTo: bigint): Promise<void> {
  await db.query({
    name: 'directory.save_receipt_cursor',
    text: `INSERT INTO directory.receipt_cursor AS c (network, asset, pay_to, scanned_to) VALUES ($1, $2, $3, $4)
           ON CONFLICT ON CONSTRAINT receipt_cursor_pkey
           DO UPDATE SET scanned_to = greatest(c.scanned_to, excluded.scanned_to), updated_at = now()`,
    values: [key.network, key.asset, key.payTo, scannedTo],
  });
}

/**
 * A walk down a list that begins with the newest: everything from `from` to `to` is accounted for, and it goes on at
 * `next`.
 */
export interface ReceiptWalk {
  to: bigint;
  from: bigint;
  next: string;
}

/**
 * The walk that was interrupted; undefined when there is none. One that has got nowhere for a day is begun anew: its node may
 * not know any more where to go on.
 */
export async function findWalk(db: Queryable, key: ReceiptKey): Promise<ReceiptWalk | undefined> {
  const result = await db.query<{ walk_to: string; walk_from: string; walk_next: string }>({
    name: 'directory.find_receipt_walk',
    text: `SELECT walk_to, walk_from, walk_next FROM directory.receipt_cursor
           WHERE network = $1 AND asset = $2 AND pay_to = $3 AND walk_to IS NOT NULL
             AND updated_at > now() - interval '1 day'`,
    values: [key.network, key.asset, key.payTo],
  });
  const [row] = result.rows;
  return row && { to: BigInt(row.walk_to), from: BigInt(row.walk_from), next: row.walk_next };
}

/**
 * Remembers how far a walk has come; undefined when it has come down.
 * @param scannedTo up to which block everything is accounted for; it never moves back
 */
export async function saveWalk(
  db: Queryable,
  key: ReceiptKey,
  scannedTo: bigint,
  walk: ReceiptWalk | undefined,
): Promise<void> {
  await db.query({
    name: 'directory.save_receipt_walk',
    text: `INSERT INTO directory.receipt_cursor AS c
             (network, asset, pay_to, scanned_to, walk_to, walk_from, walk_next) VALUES ($1, $2, $3, $4, $5, $6, $7)
           ON CONFLICT ON CONSTRAINT receipt_cursor_pkey
           DO UPDATE SET scanned_to = greatest(c.scanned_to, excluded.scanned_to), walk_to = excluded.walk_to,
             walk_from = excluded.walk_from, walk_next = excluded.walk_next, updated_at = now()`,
    values: [
      key.network,
      key.asset,
      key.payTo,
      scannedTo,
      walk?.to ?? null,
      walk?.from ?? null,
      walk?.next ?? null,
    ],
  });
}

/** First block in which money of any payment of the network could have arrived; undefined without payments. */
export async function findFirstBlock(
  db: Queryable,
  cell: CellName,
  network: string,
): Promise<bigint | undefined> {
  const result = await db.query<{ first: string | null }>({
    name: `${cell}.find_first_block`,
    text: `SELECT min(from_block) AS first FROM "${cell}".payment WHERE network = $1`,
    values: [network],
  });
  const first = result.rows[0]?.first ?? undefined;
  return first === undefined ? undefined : BigInt(first);
}

interface CreditedRow {
  payment_id: string;
  network: string;
  transaction: string;
  log_index: number;
  block_number: string;
  credited_nano_usd: string;
}

const CREDITED_COLUMNS = 'payment_id, network, transaction, log_index, block_number, credited_nano_usd';

function toCredited(row: CreditedRow): CreditedPayment {
  return {
    paymentId: row.payment_id,
    network: row.network,
    transaction: row.transaction,
    logIndex: row.log_index,
    blockNumber: BigInt(row.block_number),
    creditedNanoUsd: BigInt(row.credited_nano_usd),
  };
}

/** Payments that were credited by transfers of these blocks, both ends included. */
export async function listCreditedIn(
  db: Queryable,
  cell: CellName,
  range: { network: string; fromBlock: bigint; toBlock: bigint; limit: number },
): Promise<CreditedPayment[]> {
  const result = await db.query<CreditedRow>({
    name: `${cell}.list_credited_in_blocks`,
    text: `SELECT ${CREDITED_COLUMNS} FROM "${cell}".payment
           WHERE state = 'credited' AND network = $1 AND block_number BETWEEN $2 AND $3
           ORDER BY block_number LIMIT $4`,
    values: [range.network, range.fromBlock, range.toBlock, range.limit],
  });
  return result.rows.map(toCredited);
}

/** Which of these transfers are credited in the cell. */
export async function findCreditedBy(
  db: Queryable,
  cell: CellName,
  network: string,
  transfers: readonly { transaction: string; logIndex: number }[],
): Promise<CreditedPayment[]> {
  const result = await db.query<CreditedRow>({
    name: `${cell}.find_credited_by_transfers`,
    text: `SELECT ${CREDITED_COLUMNS} FROM "${cell}".payment
           JOIN unnest($2::text[], $3::int[]) AS t(hash, place) ON transaction = t.hash AND log_index = t.place
           WHERE network = $1 AND state = 'credited'`,
    values: [network, transfers.map(t => t.transaction), transfers.map(t => t.logIndex)],
  });
  return result.rows.map(toCredited);
}

/** Remembers transfers that are in nobody's credit, for as long as that is so. */
export async function storeUnapplied(
  db: Queryable,
  key: ReceiptKey & { environment: Environment },
  receipts: readonly UnappliedReceipt[],
): Promise<void> {
  await db.query({
    name: 'directory.store_unapplied_receipts',
    text: `INSERT INTO directory.unapplied_receipt AS r
             (network, transaction, log_index, environment, block_number, asset, pay_to, sender, amount_base_units, payment_id)
           SELECT $1, t.hash, t.place, $2, t.block, $3, $4, t.sender, t.amount, t.payment
           FROM unnest($5::text[], $6::int[], $7::bigint[], $8::text[], $9::numeric[], $10::uuid[])
             AS t(hash, place, block, sender, amount, payment)
           ON CONFLICT ON CONSTRAINT unapplied_receipt_pkey
           DO UPDATE SET payment_id = coalesce(excluded.payment_id, r.payment_id)`,
    values: [
      key.network,
      key.environment,
      key.asset,
      key.payTo,
      receipts.map(r => r.transaction),
      receipts.map(r => r.logIndex),
      receipts.map(r => r.blockNumber),
      receipts.map(r => r.from),
      receipts.map(r => r.amountBaseUnits),
      receipts.map(r => r.paymentId ?? null),
    ],
  });
}

interface UnappliedRow {
  network: string;
  transaction: string;
  log_index: number;
  block_number: string;
  sender: string;
  amount_base_units: string;
  payment_id: string | null;
}

/** Unapplied transfers that nobody has closed, oldest first. */
export async function listUnapplied(
  db: Queryable,
  network: string,
  limit: number,
): Promise<UnappliedReceipt[]> {
  const result = await db.query<UnappliedRow>({
    name: 'directory.list_unapplied_receipts',
    text: `SELECT network, transaction, log_index, block_number, sender, amount_base_units, payment_id
           FROM directory.unapplied_receipt WHERE network = $1 AND closed_at IS NULL
           ORDER BY found_at, transaction, log_index LIMIT $2`,
    values: [network, limit],
  });
  return result.rows.map(row => ({
    network: row.network,
    transaction: row.transaction,
    logIndex: row.log_index,
    blockNumber: BigInt(row.block_number),
    from: row.sender,
    amountBaseUnits: BigInt(row.amount_base_units),
    paymentId: row.payment_id ?? undefined,
  }));
}

/**
 * Closes an unapplied transfer: it was credited after all, or a person says what became of the money.
 * @param receipt.reason 1 to 500 characters
 * @returns false when there is no open one of this name.
 */
export async function closeUnapplied(
  db: Queryable,
  receipt: { network: string; transaction: string; logIndex: number; reason: string },
): Promise<boolean> {
  const result = await db.query({
    name: 'directory.close_unapplied_receipt',
    text: `UPDATE directory.unapplied_receipt SET closed_at = now(), closed_reason = $4
           WHERE network = $1 AND transaction = $2 AND log_index = $3 AND closed_at IS NULL`,
    values: [receipt.network, receipt.transaction, receipt.logIndex, receipt.reason],
  });
  return result.rowCount === 1;
}

/** The database's time, by which payments carry theirs. */
export async function readClock(db: Queryable): Promise<Date> {
  const result = await db.query<{ now: Date }>({
    name: 'directory.read_clock',
    text: 'SELECT clock_timestamp() AS now',
    values: [],
  });
  const [row] = result.rows;
  assert(row, 'a select without a table answers one row');
  return row.now;
}

/** A payment whose outcome nobody knows yet. */
export interface UndecidedPayment {
  paymentId: string;
  /** The seller for whom it is settled; undefined for a payment to us. */
  caller: string | undefined;
  network: string;
  payer: string;
  amountBaseUnits: bigint;
  state: PaymentState;
  reason: string | undefined;
  transaction: string | undefined;
  createdAt: Date;
}

/** Payments that were accepted before a moment and are still undecided, oldest first. */
export async function listUndecided(
  db: Queryable,
  cell: CellName,
  before: Date,
  limit: number,
): Promise<UndecidedPayment[]> {
  const result = await db.query<{
    payment_id: string;
    network: string;
    payer: string;
    amount_base_units: string;
    state: PaymentState;
    reason: string | null;
    transaction: string | null;
    created_at: Date;
  }>({
    name: `${cell}.list_undecided_payments`,
    text: `SELECT payment_id, network, payer, amount_base_units, state, reason, transaction, created_at
           FROM "${cell}".payment WHERE state IN ('settling', 'pending', 'reversed') AND created_at <= $1
           ORDER BY created_at LIMIT $2`,
    values: [before, limit],
  });
  return result.rows.map(row => ({
    paymentId: row.payment_id,
    caller: undefined,
    network: row.network,
    payer: row.payer,
    amountBaseUnits: BigInt(row.amount_base_units),
    state: row.state,
    reason: row.reason ?? undefined,
    transaction: row.transaction ?? undefined,
    createdAt: row.created_at,
  }));
}
