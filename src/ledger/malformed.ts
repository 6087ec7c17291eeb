import { isInt8 } from './amounts.ts';
import type { LedgerStatus } from './status.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const MAX_SMALLINT = 2 ** 15 - 1;
export const MAX_REASON = 500;
export const MAX_ACTOR = 200;

/** True for an id that the database takes, written as `newId` writes it. Callers outside the type system exist. */
export function isId(id: unknown): id is string {
  return typeof id === 'string' && UUID.test(id);
}

/** True for 1 to `max` characters, counted as the database does, that it can store. */
export function isText(text: unknown, max: number): text is string {
  if (typeof text !== 'string' || text.length === 0 || text.includes('\0')) return false;
  return text.length <= max || Array.from(text).length <= max;
}

/** What every order and grant names, as far as it is given. */
interface Named {
  accountId: bigint;
  id: string;
  originalId?: string;
  grantId?: string;
  contra?: number;
  priority?: number | undefined;
  expiresAt?: Date | null | undefined;
  reason?: string;
  actor?: string;
}

/**
 * The refusal of something that the database could not even read, or undefined when it can. What is not a value of
 * its type stands for nothing: such an account is unknown, such an id outside the log, such a transfer not there.
 */
export function malformedStatus(named: Named): LedgerStatus | undefined {
  const given = (key: keyof Named) => key in named;
  if (!isInt8(named.accountId)) return 'unknown_account';
  if (!isId(named.id)) return 'id_out_of_range';
  if (given('originalId') && !isId(named.originalId)) return 'unknown_transfer';
  if (given('grantId') && !isId(named.grantId)) return 'unknown_grant';
  if (given('contra') && !isSmallint(named.contra)) return 'invalid_contra';
  if (named.priority !== undefined && !isSmallint(named.priority)) return 'unknown_operation';
  if (given('expiresAt') && !isExpiry(named.expiresAt)) return 'invalid_expiry';
  if (given('reason') && !isText(named.reason, MAX_REASON)) return 'unknown_operation';
  if (given('actor') && !isText(named.actor, MAX_ACTOR)) return 'unknown_operation';
  return undefined;
}

function isSmallint(value: unknown): boolean {
  return Number.isInteger(value) && Math.abs(value as number) <= MAX_SMALLINT;
}

/** Absent, never, or an instant since 1970: what lies before has ended, and what lies long before has no form. */
function isExpiry(at: unknown): boolean {
  return at === undefined || at === null || (at instanceof Date && at.getTime() >= 0);
}
