import type { CellName, Queryable } from '../db/queryable.ts';
import { isPositiveAmount } from './amounts.ts';
import { type At, callLedger, refusal } from './calls.ts';
import type { ContraCode } from './chart.ts';
import { malformedStatus } from './malformed.ts';
import type { LedgerResult } from './status.ts';

/** Promotional credit is used before paid credit unless the caller says otherwise; lower goes first. */
const DEFAULT_PRIORITY = { promotional: 40, paid: 50 } as const;

export interface AddGrant extends At {
  accountId: bigint;
  /** UUIDv7, made once and stored by the caller: the transfer's id, which makes the call idempotent. */
  id: string;
  /** 1 or more. */
  amountNanoUsd: bigint;
  source: 'paid' | 'promotional';
  contra: ContraCode;
  priority?: number;
  /** Credit that is left then is forfeited, except what is held. Never when absent. */
  expiresAt?: Date | null;
}

/**
 * Adds credit to an account. Call it inside the transaction that records why.
 * @returns `applied` or `replayed`; refusals: `unknown_account`, `conflict`, `invalid_amount`,
 * `id_out_of_range`, `wrong_environment`, `invalid_contra`, `invalid_expiry`, `unknown_operation` (a source or
 * priority that does not exist). A frozen account still receives.
 */
export async function addGrant(db: Queryable, cell: CellName, grant: AddGrant): Promise<LedgerResult> {
  const malformed = malformedStatus(grant);
  if (malformed) return refusal(malformed);
  if (!isPositiveAmount(grant.amountNanoUsd)) return refusal('invalid_amount');
  if (!(grant.source in DEFAULT_PRIORITY)) return refusal('unknown_operation');
  return callLedger(db, cell, 'add_grant', [
    grant.accountId,
    grant.id,
    grant.amountNanoUsd,
    grant.source,
    grant.contra,
    grant.priority ?? DEFAULT_PRIORITY[grant.source],
    grant.expiresAt ?? null,
    grant.now ?? null,
  ]);
}

/**
 * Adds paid credit that never expires: the plain credit of an account.
 * @returns as {@link addGrant}.
 */
export function credit(
  db: Queryable,
  cell: CellName,
  { accountId, id, amountNanoUsd, contra, now }: Omit<AddGrant, 'source' | 'priority' | 'expiresAt'>,
): Promise<LedgerResult> {
  return addGrant(db, cell, { accountId, id, amountNanoUsd, contra, now, source: 'paid' });
}

export interface VoidGrant extends At {
  accountId: bigint;
  /** UUIDv7 of this operation and of the transfer it makes. */
  id: string;
  grantId: string;
  /** 1 to 500 characters. */
  reason: string;
  /** 1 to 200 characters. */
  actor: string;
}

/**
 * Ends a grant now: takes back what is neither spent nor held, and the held part once its hold has ended.
 * @returns `applied` or `replayed`; refusals: `unknown_account`, `unknown_grant`, `conflict`, `id_out_of_range`,
 * `unknown_operation` (no reason or no actor).
 */
export async function voidGrant(db: Queryable, cell: CellName, order: VoidGrant): Promise<LedgerResult> {
  const malformed = malformedStatus(order);
  if (malformed) return refusal(malformed);
  return callLedger(db, cell, 'void_grant', [
    order.accountId,
    order.id,
    order.grantId,
    order.reason,
    order.actor,
    order.now ?? null,
  ]);
}
