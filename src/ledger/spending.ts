import type { CellName, Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import { isInt8, isPositiveAmount } from './amounts.ts';
import type { At } from './calls.ts';
import { isId } from './malformed.ts';
import { type LedgerStatus, ledgerStatus } from './status.ts';

/** Every operation names its account and carries an id (UUIDv7) that the caller made once and keeps. */
interface Target {
  accountId: bigint;
  id: string;
}

/** What a capture may do beyond what is held. A permission and no content: a repetition is not compared by it. */
export type Overage =
  /** Nothing: `exceeds_hold`, and `hold_expired` when the hold is gone. */
  | 'refuse'
  /** Take the excess from the available credit, or `insufficient`. */
  | 'available'
  /** Take what there is; the rest becomes a write-off, so that the balance never goes below zero. */
  | 'write_off';

export interface Debit extends Target {
  kind: 'debit';
  amountNanoUsd: bigint;
  /** Books what is not there as a write-off instead of refusing: for service that was already given. Not compared. */
  writeOff?: boolean;
}

export interface PlaceHold extends Target {
  kind: 'hold';
  amountNanoUsd: bigint;
  /** After this the sweeper may end the hold. */
  lifetimeMs: number;
}

export interface Capture extends Target {
  kind: 'capture';
  /** Zero ends the hold without a charge. */
  amountNanoUsd: bigint;
  /** `refuse` when absent. */
  overage?: Overage;
}

export interface Release extends Target {
  kind: 'release';
}

export interface Renew extends Target {
  kind: 'renew';
  /** Counted from now; never shortens a hold. */
  lifetimeMs: number;
}

export type SpendingOperation = Debit | PlaceHold | Capture | Release | Renew;

export interface SpendingResult {
  status: LedgerStatus;
  /** After the operation; zero where the account was not reached. */
  availableNanoUsd: bigint;
}

const KINDS = { debit: 1, hold: 2, capture: 3, release: 4, renew: 5 } as const;
const OVERAGES = { refuse: 0, available: 1, write_off: 2 } as const;
/** Longest lifetime that the call's int4 milliseconds can carry: 24 days. */
const MAX_LIFETIME_MS = 2 ** 31 - 1;

/** The refusal of an operation that must not reach the database, or undefined when it may. */
export function refuseMalformed(operation: SpendingOperation): SpendingResult | undefined {
  const status = malformedStatus(operation);
  return status && { status, availableNanoUsd: 0n };
}

function malformedStatus(operation: SpendingOperation): LedgerStatus | undefined {
  const { kind } = operation;
  if (!isInt8(operation.accountId)) return 'unknown_account';
  if (!isId(operation.id)) return 'id_out_of_range';
  if ((kind === 'debit' || kind === 'hold') && !isPositiveAmount(operation.amountNanoUsd))
    return 'invalid_amount';
  if (kind === 'capture' && !(isInt8(operation.amountNanoUsd) && operation.amountNanoUsd >= 0n))
    return 'invalid_amount';
  if ((kind === 'hold' || kind === 'renew') && !isLifetime(operation.lifetimeMs)) return 'invalid_expiry';
  return undefined;
}

function isLifetime(ms: number): boolean {
  return Number.isInteger(ms) && ms > 0 && ms <= MAX_LIFETIME_MS;
}

function amountOf(operation: SpendingOperation): bigint {
  return 'amountNanoUsd' in operation ? operation.amountNanoUsd : 0n;
}

function argumentOf(operation: SpendingOperation): number {
  if (operation.kind === 'debit') return operation.writeOff ? OVERAGES.write_off : OVERAGES.refuse;
  if (operation.kind === 'capture') return OVERAGES[operation.overage ?? 'refuse'];
  return operation.kind === 'release' ? 0 : operation.lifetimeMs;
}

/** True when a repetition of `a` by `b` under the same id is the same operation. */
export function isSameOperation(a: SpendingOperation, b: SpendingOperation): boolean {
  return (
    a.kind === b.kind &&
    a.accountId === b.accountId &&
    amountOf(a) === amountOf(b) &&
    argumentOf(a) === argumentOf(b)
  );
}

/**
 * Applies operations on accounts of one cell in one call and one transaction, with a result for each, in
 * order. The operations must be well formed (`refuseMalformed`).
 * @throws when an account's id appears twice, before anything is sent: each must see the rows of the one before.
 */
export async function applyOperations(
  db: Queryable,
  cell: CellName,
  operations: readonly SpendingOperation[],
  at: At = {},
): Promise<SpendingResult[]> {
  const [first] = operations;
  if (first && operations.length === 1) return [await applyOne(db, cell, first, at)];
  const ids = new Set(operations.map(({ accountId, id }) => `${accountId} ${id}`));
  assert(ids.size === operations.length, 'an id appears once per account in a call');
  const { rows } = await db.query<{ status: number[]; available: string[] }>({
    name: `ledger_apply_${cell}`,
    text: `SELECT status, available FROM "${cell}".apply($1, $2, $3, $4, $5, $6)`,
    values: [
      arrayLiteral(operations, operation => KINDS[operation.kind]),
      arrayLiteral(operations, operation => operation.accountId),
      arrayLiteral(operations, operation => operation.id),
      arrayLiteral(operations, amountOf),
      arrayLiteral(operations, argumentOf),
      at.now ?? null,
    ],
  });
  const row = rows[0];
  assert(row && row.status.length === operations.length, 'apply answers every operation');
  return row.status.map((status, index) => ({
    status: ledgerStatus(status),
    availableNanoUsd: BigInt(row.available[index] ?? '0'),
  }));
}

async function applyOne(
  db: Queryable,
  cell: CellName,
  operation: SpendingOperation,
  at: At,
): Promise<SpendingResult> {
  const { rows } = await db.query<{ status: number; available: string }>({
    name: `ledger_apply_one_${cell}`,
    text: `SELECT status, available FROM "${cell}".apply_one($1, $2, $3, $4, $5, $6)`,
    values: [
      KINDS[operation.kind],
      operation.accountId,
      operation.id,
      amountOf(operation),
      argumentOf(operation),
      at.now ?? null,
    ],
  });
  const row = rows[0];
  assert(row, 'apply_one returns one row');
  return { status: ledgerStatus(row.status), availableNanoUsd: BigInt(row.available) };
}

/** A PostgreSQL array of plain numbers or ids; the driver's own form quotes every element, at twice the cost. */
function arrayLiteral(
  operations: readonly SpendingOperation[],
  field: (operation: SpendingOperation) => bigint | number | string,
): string {
  let text = '{';
  for (const operation of operations) text += text.length === 1 ? field(operation) : `,${field(operation)}`;
  return `${text}}`;
}
