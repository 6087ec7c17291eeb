/**
 * What the ledger answers to an operation, in the order of the codes that the SQL functions return. The
 * first two are success; every other one is a refusal that wrote nothing.
 */
export const STATUSES = [
  'applied',
  /** This very operation was done before; nothing was written again. */
  'replayed',
  'insufficient',
  'unknown_account',
  /** The id already stands for something else. */
  'conflict',
  /** No open hold has this id. */
  'unknown_hold',
  'frozen',
  'invalid_amount',
  /** More than was held, and the operation's overage rule forbids it. */
  'exceeds_hold',
  /** The hold has expired, and the operation cannot do without it. */
  'hold_expired',
  /** The id's time is older than the log reaches back, or more than five minutes ahead. */
  'id_out_of_range',
  /** Money of a test network for a live account, or the reverse. */
  'wrong_environment',
  'invalid_expiry',
  'unknown_grant',
  'unknown_transfer',
  /** More than the original transfer still has to give back. */
  'exceeds_original',
  'not_reversible',
  /** A kind or an argument that the ledger does not know: a mistake of the caller's program. */
  'unknown_operation',
  /** A contra code that no money can move against. */
  'invalid_contra',
] as const;

export type LedgerStatus = (typeof STATUSES)[number];

/** What an operation did to one account. Amounts in nano-USD, as they are after the operation. */
export interface LedgerResult {
  status: LedgerStatus;
  availableNanoUsd: bigint;
  postedNanoUsd: bigint;
}

/** The name of a status code that came from the database. */
export function ledgerStatus(code: number): LedgerStatus {
  const status = STATUSES[code];
  if (status === undefined) throw new Error(`unknown ledger status ${code}`);
  return status;
}

/** True when the operation is in the books, now or since an earlier call. */
export function isDone(status: LedgerStatus): boolean {
  return status === 'applied' || status === 'replayed';
}
