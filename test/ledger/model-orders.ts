import type { LedgerStatus } from '../../src/ledger/status.ts';
import {
  addCredit,
  available,
  book,
  burn,
  endDueGrants,
  find,
  held,
  inOrder,
  inWindow,
  MAX,
  type ModelAccount,
  type ModelAction,
  type ModelGrant,
  type ModelResult,
  type ModelTransfer,
  max,
  min,
  posted,
  voidContra,
} from './model.ts';

/** The rare operations. Each ends due grants first, then answers a repetition, then decides. */
function ordered(
  a: ModelAccount | undefined,
  now: number,
  work: (account: ModelAccount) => LedgerStatus,
): ModelResult {
  if (!a) return { status: 'unknown_account', available: 0n, posted: 0n };
  endDueGrants(a, now);
  const status = work(a);
  return { status, available: available(a), posted: posted(a) };
}

function otherEnvironment(a: ModelAccount, contra: number): boolean {
  return contra >= 100 && contra < 200 !== (a.environment === 'live');
}

function newGrant(
  id: string,
  source: string,
  contra: number,
  amount: bigint,
  now: number,
  rest: Partial<ModelGrant> = {},
): ModelGrant {
  const expiresAt = rest.expiresAt ?? Number.POSITIVE_INFINITY;
  return {
    id,
    source,
    contra,
    amount,
    remaining: amount,
    forfeited: 0n,
    voidedAmount: 0n,
    priority: 50,
    createdAt: now,
    expiresAt,
    endsAt: expiresAt,
    voided: false,
    reversed: false,
    ...rest,
  };
}

export interface GrantSpec {
  id: string;
  amount: bigint;
  source: 'paid' | 'promotional';
  contra: number;
  priority: number;
  expiresAt: number;
}

export function addGrant(a: ModelAccount | undefined, spec: GrantSpec, now: number): ModelResult {
  return ordered(a, now, account => {
    const { id, amount, source, contra, priority, expiresAt } = spec;
    const done = find(account, id);
    if (done) {
      const grant = account.grants.find(g => g.id === id);
      const same =
        done.code === 'grant' &&
        grant?.amount === amount &&
        grant.source === source &&
        grant.contra === contra &&
        grant.priority === priority &&
        grant.expiresAt === expiresAt;
      return same ? 'replayed' : 'conflict';
    }
    if (account.holds.has(id) || account.actions.has(id)) return 'conflict';
    if (exceedsCapacity(account, amount)) return 'invalid_amount';
    if (!inWindow(id, now)) return 'id_out_of_range';
    if (otherEnvironment(account, contra)) return 'wrong_environment';
    if (expiresAt <= now) return 'invalid_expiry';
    book(account, id, 'grant', amount, contra);
    addCredit(account, newGrant(id, source, contra, amount, now, { priority, expiresAt }));
    return 'applied';
  });
}

function repetition(
  a: ModelAccount,
  id: string,
  action: string,
  originalId: string | null,
  amount: bigint | null,
  contra: number | null = null,
): LedgerStatus | undefined {
  const done = a.actions.get(id);
  if (done) {
    const same =
      done.action === action &&
      (done.originalId === originalId || done.originalId === `late ${originalId}`) &&
      done.contra === contra &&
      (amount === null || done.amount === amount);
    return same ? 'replayed' : 'conflict';
  }
  return find(a, id) || a.holds.has(id) ? 'conflict' : undefined;
}

export function voidGrant(
  a: ModelAccount | undefined,
  id: string,
  grantId: string,
  now: number,
): ModelResult {
  return ordered(a, now, account => {
    const again = repetition(account, id, 'void', grantId, 0n);
    if (again) return again;
    const grant = account.grants.find(g => g.id === grantId);
    if (!grant) return 'unknown_grant';
    if (!inWindow(id, now)) return 'id_out_of_range';
    act(account, id, 'void', { originalId: grantId });
    if (!grant.voided) {
      grant.voided = true;
      grant.endsAt = Math.min(grant.endsAt, now);
    }
    endDueGrants(account, now, id);
    return 'applied';
  });
}

function exceedsCapacity(a: ModelAccount, amount: bigint): boolean {
  return amount > MAX - a.creditLine - max(posted(a), 0n);
}

/** The transfer that an id charged: for an expired hold, its late capture. */
function findCharge(a: ModelAccount, id: string): ModelTransfer | undefined {
  const found = find(a, id);
  return (found?.code === 'hold_expired' && find(a, `late ${id}`)) || found;
}

function act(a: ModelAccount, id: string, action: string, rest: Partial<ModelAction> = {}): void {
  a.actions.set(id, { action, originalId: null, contra: null, amount: 0n, uncollected: 0n, ...rest });
}

function outstanding(a: ModelAccount, original: ModelTransfer): bigint {
  const before = a.log[a.log.indexOf(original) - 1];
  const writtenOff = original.code !== 'grant' && before?.code === 'write_off' ? before.amount : 0n;
  const total = original.code === 'grant' ? original.amount : -original.amount - writtenOff;
  const corrected = [...a.actions.values()]
    .filter(o => o.originalId === original.id && (o.action === 'refund' || o.action === 'reverse'))
    .reduce((sum, o) => sum + o.amount, 0n);
  return total - corrected;
}

/** Books it and gives it back, less what earlier reversals had to write off; returns that part. */
function bookGiveBack(
  a: ModelAccount,
  id: string,
  code: string,
  amount: bigint,
  contra: number,
  now: number,
) {
  const owed = [...a.actions.values()].reduce((sum, o) => sum + o.uncollected, 0n);
  const broughtBack = min(owed, amount);
  book(a, id, code, amount, contra);
  if (broughtBack > 0n) book(a, null, 'recovery', -broughtBack, 4);
  giveBack(a, id, amount - broughtBack, contra, now);
  return broughtBack;
}

function giveBack(a: ModelAccount, id: string, amount: bigint, contra: number, now: number): void {
  let left = amount;
  const repaid = min(left, a.deficit);
  a.deficit -= repaid;
  left -= repaid;
  for (const grant of inOrder(a.grants).toReversed()) {
    if (grant.endsAt <= now) continue;
    const part = min(left, grant.amount - grant.remaining - grant.forfeited);
    grant.remaining += part;
    left -= part;
  }
  if (left > 0n) a.grants.push(newGrant(id, 'refund', contra, left, now));
}

/**
 * Forfeited credit comes back from where it went, used credit is taken from other grants, and what remains of the
 * grant is taken as far as it is not held; its rest ends with the holds.
 * @returns what had to be written off
 */
function takeBack(a: ModelAccount, id: string, original: ModelTransfer, now: number): bigint {
  const grant = a.grants.find(g => g.id === original.id);
  if (!grant) throw new Error('every grant transfer has its grant');
  const free = max(0n, posted(a) - held(a));
  const used = grant.amount - grant.remaining - grant.forfeited;
  const fromOthers = min(min(used, max(0n, posted(a) - grant.remaining)), free);
  const part = min(grant.remaining, free - fromOthers);
  const writtenOff = used - fromOthers + grant.remaining - part;
  if (writtenOff > 0n) book(a, null, 'write_off', writtenOff, 4);
  if (grant.voidedAmount > 0n) book(a, null, 'reversal', grant.voidedAmount, voidContra(grant));
  const expired = grant.forfeited - grant.voidedAmount;
  if (expired > 0n) book(a, null, 'reversal', expired, 3);
  book(a, id, 'reversal', -original.amount, original.contra);
  burn(a, fromOthers, grant);
  grant.remaining -= part;
  grant.forfeited += part;
  grant.endsAt = Math.min(grant.endsAt, now);
  grant.reversed = true;
  return writtenOff;
}

export function refund(
  a: ModelAccount | undefined,
  id: string,
  originalId: string,
  amount: bigint,
  now: number,
): ModelResult {
  return ordered(a, now, account => {
    const again = repetition(account, id, 'refund', originalId, amount);
    if (again) return again;
    const original = findCharge(account, originalId);
    if (!original) return 'unknown_transfer';
    if (original.code !== 'debit' && original.code !== 'capture') return 'not_reversible';
    if (amount > outstanding(account, original)) return 'exceeds_original';
    if (exceedsCapacity(account, amount)) return 'invalid_amount';
    if (!inWindow(id, now)) return 'id_out_of_range';
    const broughtBack = bookGiveBack(account, id, 'refund', amount, original.contra, now);
    act(account, id, 'refund', { originalId: original.id, amount, uncollected: -broughtBack });
    return 'applied';
  });
}

export function reverse(
  a: ModelAccount | undefined,
  id: string,
  originalId: string,
  now: number,
): ModelResult {
  return ordered(a, now, account => {
    const again = repetition(account, id, 'reverse', originalId, null);
    if (again) return again;
    const original = findCharge(account, originalId);
    if (!original) return 'unknown_transfer';
    if (!['debit', 'capture', 'grant'].includes(original.code)) return 'not_reversible';
    const rest = outstanding(account, original);
    if (rest <= 0n) return 'exceeds_original';
    if (original.code !== 'grant' && exceedsCapacity(account, rest)) return 'invalid_amount';
    if (!inWindow(id, now)) return 'id_out_of_range';
    const uncollected =
      original.code === 'grant'
        ? takeBack(account, id, original, now)
        : -bookGiveBack(account, id, 'reversal', rest, original.contra, now);
    act(account, id, 'reverse', { originalId: original.id, amount: rest, uncollected });
    return 'applied';
  });
}

export function adjust(
  a: ModelAccount | undefined,
  id: string,
  amount: bigint,
  contra: number,
  now: number,
): ModelResult {
  return ordered(a, now, account => {
    const again = repetition(account, id, 'adjust', null, amount, contra);
    if (again) return again;
    if (exceedsCapacity(account, amount)) return 'invalid_amount';
    if (otherEnvironment(account, contra)) return 'wrong_environment';
    if (available(account) + amount < 0n) return 'insufficient';
    if (!inWindow(id, now)) return 'id_out_of_range';
    act(account, id, 'adjust', { amount, contra });
    book(account, id, 'adjustment', amount, contra);
    if (amount < 0n) burn(account, -amount);
    else addCredit(account, newGrant(id, 'adjustment', contra, amount, now));
    return 'applied';
  });
}

export function setFrozen(
  a: ModelAccount | undefined,
  id: string,
  frozen: boolean,
  now: number,
): ModelResult {
  return ordered(a, now, account => {
    const action = frozen ? 'freeze' : 'unfreeze';
    const again = repetition(account, id, action, null, 0n);
    if (again) return again;
    if (!inWindow(id, now)) return 'id_out_of_range';
    act(account, id, action);
    book(account, id, action, 0n, 0);
    account.frozen = frozen;
    return 'applied';
  });
}

export function setCreditLine(
  a: ModelAccount | undefined,
  id: string,
  amount: bigint,
  now: number,
): ModelResult {
  return ordered(a, now, account => {
    const again = repetition(account, id, 'credit_line', null, amount);
    if (again) return again;
    if (amount > MAX - max(posted(account), 0n)) return 'invalid_amount';
    if (posted(account) - held(account) + amount < 0n) return 'insufficient';
    if (!inWindow(id, now)) return 'id_out_of_range';
    act(account, id, 'credit_line', { amount });
    book(account, id, 'credit_line', 0n, 0);
    account.creditLine = amount;
    return 'applied';
  });
}
