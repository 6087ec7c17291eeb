import type { CellName, Queryable } from '../db/queryable.ts';
import { isInt8, isPositiveAmount } from './amounts.ts';
import { type At, callLedger, refusal } from './calls.ts';
import type { ContraCode } from './chart.ts';
import { malformedStatus } from './malformed.ts';
import type { LedgerResult } from './status.ts';

/** What every order of a person or of a reconciler carries; reason and actor are kept beside the transfer. */
export interface Order extends At {
  accountId: bigint;
  /** UUIDv7 of the order, and of the transfer that it makes. */
  id: string;
  /** 1 to 500 characters. */
  reason: string;
  /** Who ordered it, 1 to 200 characters. */
  actor: string;
}

/**
 * Gives part or all of a debit or capture back. The credit returns to the grants it was used from, last used
 * first; what finds no live grant becomes a new one that does not expire.
 * @returns `applied` or `replayed`; refusals: `unknown_account`, `unknown_transfer`, `not_reversible`,
 * `exceeds_original` (all refunds together), `invalid_amount`, `conflict`, `id_out_of_range`, `unknown_operation`
 * (no reason or no actor).
 */
export async function refund(
  db: Queryable,
  cell: CellName,
  order: Order & { originalId: string; amountNanoUsd: bigint },
): Promise<LedgerResult> {
  const { accountId, id, originalId, amountNanoUsd, reason, actor, now } = order;
  const malformed = malformedStatus(order);
  if (malformed) return refusal(malformed);
  if (!isPositiveAmount(amountNanoUsd)) return refusal('invalid_amount');
  return callLedger(db, cell, 'refund', [
    accountId,
    id,
    originalId,
    amountNanoUsd,
    reason,
    actor,
    now ?? null,
  ]);
}

/**
 * Undoes what is left of a debit, capture or grant. A grant is taken back in full against its source: what was
 * spent of it from other credit, what expired or was voided from where that went. What the account does not have,
 * or holds, is written off, never driven below what is held; held credit of the grant ends with the hold.
 * @returns as {@link refund}.
 */
export async function reverseTransfer(
  db: Queryable,
  cell: CellName,
  order: Order & { originalId: string },
): Promise<LedgerResult> {
  const { accountId, id, originalId, reason, actor, now } = order;
  const malformed = malformedStatus(order);
  if (malformed) return refusal(malformed);
  return callLedger(db, cell, 'reverse_transfer', [accountId, id, originalId, reason, actor, now ?? null]);
}

/**
 * Corrects a balance by hand.
 * @param order.amountNanoUsd above zero gives credit, below zero takes it.
 * @returns `applied` or `replayed`; refusals: `unknown_account`, `insufficient`, `invalid_amount`,
 * `wrong_environment`, `invalid_contra`, `conflict`, `id_out_of_range`, `unknown_operation`.
 */
export async function adjust(
  db: Queryable,
  cell: CellName,
  order: Order & { amountNanoUsd: bigint; contra: ContraCode },
): Promise<LedgerResult> {
  const { accountId, id, amountNanoUsd, contra, reason, actor, now } = order;
  const malformed = malformedStatus(order);
  if (malformed) return refusal(malformed);
  if (!isInt8(amountNanoUsd) || amountNanoUsd === 0n) return refusal('invalid_amount');
  return callLedger(db, cell, 'adjust', [accountId, id, amountNanoUsd, contra, reason, actor, now ?? null]);
}

/**
 * Freezes or thaws an account. A frozen account refuses debits and holds; captures of what was reserved,
 * releases and credits go on.
 * @returns `applied` or `replayed`; refusals: `unknown_account`, `conflict`, `id_out_of_range`, `unknown_operation`.
 */
export async function setFrozen(
  db: Queryable,
  cell: CellName,
  order: Order & { frozen: boolean },
): Promise<LedgerResult> {
  const { accountId, id, frozen, reason, actor, now } = order;
  const malformed = malformedStatus(order);
  if (malformed) return refusal(malformed);
  if (typeof frozen !== 'boolean') return refusal('unknown_operation');
  return callLedger(db, cell, 'set_frozen', [accountId, id, frozen, reason, actor, now ?? null]);
}

/**
 * Sets how far below zero an account may go; zero, the default, forbids it.
 * @returns `applied` or `replayed`; refusals: `unknown_account`, `insufficient` when the account is below
 * the new line already, `invalid_amount`, `conflict`, `id_out_of_range`, `unknown_operation`.
 */
export async function setCreditLine(
  db: Queryable,
  cell: CellName,
  order: Order & { amountNanoUsd: bigint },
): Promise<LedgerResult> {
  const { accountId, id, amountNanoUsd, reason, actor, now } = order;
  const malformed = malformedStatus(order);
  if (malformed) return refusal(malformed);
  if (!isInt8(amountNanoUsd) || amountNanoUsd < 0n) return refusal('invalid_amount');
  return callLedger(db, cell, 'set_credit_line', [accountId, id, amountNanoUsd, reason, actor, now ?? null]);
}
