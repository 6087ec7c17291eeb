import { RECEIPTS } from '../../src/ledger/chart.ts';
import type { SpendingOperation } from '../../src/ledger/spending.ts';
import type { LedgerStatus } from '../../src/ledger/status.ts';

/**
 * The ledger as one would write it without a database: plain data, every debit taken out of the grants at
 * once. What the SQL does lazily, in batches and under locks must always look like this.
 */
export interface ModelGrant {
  id: string;
  source: string;
  contra: number;
  amount: bigint;
  remaining: bigint;
  forfeited: bigint;
  priority: number;
  createdAt: number;
  expiresAt: number;
  endsAt: number;
  voided: boolean;
}

export interface ModelTransfer {
  /** Null for ids that the ledger makes up. */
  id: string | null;
  code: string;
  amount: bigint;
  balanceAfter: bigint;
  holdAmount: bigint;
  holdLifetimeMs: number;
  contra: number;
}

interface ModelAction {
  action: string;
  originalId: string | null;
  contra: number | null;
  amount: bigint;
  /** Written off by a reversal, or brought back by a refund (negative). */
  uncollected: bigint;
}

interface ModelHold {
  amount: bigint;
  expiresAt: number;
  lifetimeMs: number;
}

export interface ModelAccount {
  environment: 'live' | 'test';
  frozen: boolean;
  creditLine: bigint;
  /** Spent on the credit line: not covered by any grant. */
  deficit: bigint;
  holds: Map<string, ModelHold>;
  grants: ModelGrant[];
  log: ModelTransfer[];
  actions: Map<string, ModelAction>;
}

export interface ModelResult {
  status: LedgerStatus;
  available: bigint;
  posted: bigint;
}

const MAX = 4611686018427387903n;
const FIVE_MINUTES = 300_000;

export function newModelAccount(environment: 'live' | 'test' = 'live'): ModelAccount {
  return {
    environment,
    frozen: false,
    creditLine: 0n,
    deficit: 0n,
    holds: new Map(),
    grants: [],
    log: [],
    actions: new Map(),
  };
}

export function posted(a: ModelAccount): bigint {
  return a.grants.reduce((sum, g) => sum + g.remaining, 0n) - a.deficit;
}

export function held(a: ModelAccount): bigint {
  return [...a.holds.values()].reduce((sum, h) => sum + h.amount, 0n);
}

export function available(a: ModelAccount): bigint {
  return posted(a) - held(a) + a.creditLine;
}

function inOrder(grants: ModelGrant[]): ModelGrant[] {
  return grants.toSorted(
    (x, y) =>
      x.priority - y.priority ||
      x.expiresAt - y.expiresAt ||
      x.createdAt - y.createdAt ||
      (x.id < y.id ? -1 : 1),
  );
}

const min = (x: bigint, y: bigint) => (x < y ? x : y);
const max = (x: bigint, y: bigint) => (x > y ? x : y);

function burn(a: ModelAccount, amount: bigint): void {
  let left = amount;
  for (const grant of inOrder(a.grants)) {
    const part = min(left, grant.remaining);
    grant.remaining -= part;
    left -= part;
  }
  a.deficit += left;
}

function addCredit(a: ModelAccount, grant: ModelGrant): void {
  a.grants.push(grant);
  const owed = a.deficit;
  a.deficit = 0n;
  burn(a, owed);
}

function book(
  a: ModelAccount,
  id: string | null,
  code: string,
  amount: bigint,
  contra: number,
  hold?: ModelHold,
) {
  // Called before the change of the grants; the balance after is the one before and the amount.
  const balanceAfter = (a.log.at(-1)?.balanceAfter ?? 0n) + amount;
  const [holdAmount, holdLifetimeMs] = [hold?.amount ?? 0n, hold?.lifetimeMs ?? 0];
  a.log.push({ id, code, amount, contra, holdAmount, holdLifetimeMs, balanceAfter });
}

/** What every call does first to the accounts that it names. */
export function endDueGrants(a: ModelAccount, now: number, id: string | null = null): void {
  let next = id;
  for (const grant of inOrder(a.grants)) {
    if (grant.endsAt > now || grant.remaining === 0n) continue;
    const part = min(grant.remaining, posted(a) - held(a));
    if (part <= 0n) break;
    const contra = grant.voided ? (grant.contra >= 100 ? 5 : grant.contra) : 3;
    book(a, next, grant.voided ? 'grant_voided' : 'grant_expired', -part, contra);
    next = null;
    grant.remaining -= part;
    grant.forfeited += part;
  }
  if (next !== null) book(a, next, 'grant_voided', 0n, 0);
}

function find(a: ModelAccount, id: string): ModelTransfer | undefined {
  return a.log.find(t => t.id === id);
}

function idTime(id: string): number {
  return Number.parseInt(id.replace('-', '').slice(0, 12), 16);
}

/** The tests' clocks stay far inside the window of the log, so only absurd ids fall outside. */
function inWindow(id: string, now: number): boolean {
  return idTime(id) > now - 25 * 86_400_000 && idTime(id) < now + FIVE_MINUTES;
}

function charge(a: ModelAccount, id: string, code: string, amount: bigint, hold?: ModelHold): void {
  const short = max(0n, amount - available(a) - (hold?.amount ?? 0n));
  if (short > 0n) book(a, null, 'write_off', short, 4);
  book(a, id, code, -amount, 1, hold);
  burn(a, amount - short);
}

/** One spending operation, as if it were called alone: grants that have ended go first. */
export function spend(
  a: ModelAccount | undefined,
  operation: SpendingOperation,
  now: number,
): { status: LedgerStatus; available: bigint } {
  if (!a) return { status: 'unknown_account', available: 0n };
  endDueGrants(a, now);
  return { status: spendStatus(a, operation, now), available: available(a) };
}

function spendStatus(a: ModelAccount, operation: SpendingOperation, now: number): LedgerStatus {
  const { id } = operation;
  if ('amountNanoUsd' in operation && operation.amountNanoUsd > MAX) return 'invalid_amount';
  const done = find(a, id);
  const hold = a.holds.get(id);
  switch (operation.kind) {
    case 'debit': {
      const amount = operation.amountNanoUsd;
      if (done) return done.code === 'debit' && done.amount === -amount ? 'replayed' : 'conflict';
      if (hold) return 'conflict';
      if (a.frozen) return 'frozen';
      if (!inWindow(id, now)) return 'id_out_of_range';
      if (available(a) < amount && !operation.writeOff) return 'insufficient';
      charge(a, id, 'debit', amount);
      return 'applied';
    }
    case 'hold': {
      const amount = operation.amountNanoUsd;
      const { lifetimeMs } = operation;
      const was = done ? { amount: done.holdAmount, lifetimeMs: done.holdLifetimeMs } : hold;
      if (was) return was.amount === amount && was.lifetimeMs === lifetimeMs ? 'replayed' : 'conflict';
      if (a.frozen) return 'frozen';
      if (!inWindow(id, now)) return 'id_out_of_range';
      if (available(a) < amount) return 'insufficient';
      a.holds.set(id, { amount, lifetimeMs, expiresAt: now + lifetimeMs });
      return 'applied';
    }
    case 'capture': {
      const amount = operation.amountNanoUsd;
      const overage = operation.overage ?? 'refuse';
      if (done?.code === 'hold_expired') return captureLate(a, id, amount, overage);
      if (done) return done.code === 'capture' && done.amount === -amount ? 'replayed' : 'conflict';
      if (!hold) return 'unknown_hold';
      if (amount > hold.amount) {
        if (overage === 'refuse') return 'exceeds_hold';
        if (overage === 'available' && available(a) < amount - hold.amount) return 'insufficient';
      }
      // The hold still counts as held while the charge is worked out, and is given to it.
      charge(a, id, 'capture', amount, hold);
      a.holds.delete(id);
      return 'applied';
    }
    case 'release':
      if (done?.code === 'release') return 'replayed';
      if (done) return done.code === 'hold_expired' ? 'hold_expired' : 'conflict';
      if (!hold) return 'unknown_hold';
      book(a, id, 'release', 0n, 0, hold);
      a.holds.delete(id);
      return 'applied';
    default:
      if (done) return done.code === 'hold_expired' ? 'hold_expired' : 'unknown_hold';
      if (!hold) return 'unknown_hold';
      hold.expiresAt = Math.max(hold.expiresAt, now + operation.lifetimeMs);
      return 'applied';
  }
}

function captureLate(a: ModelAccount, id: string, amount: bigint, overage: string): LedgerStatus {
  const lateId = `late ${id}`;
  const late = find(a, lateId);
  if (late) return late.amount === -amount ? 'replayed' : 'conflict';
  if (overage === 'refuse') return 'hold_expired';
  if (overage === 'available' && available(a) < amount) return 'insufficient';
  charge(a, lateId, 'capture', amount);
  return 'applied';
}

export function sweepHolds(a: ModelAccount, now: number): void {
  const over = [...a.holds].filter(([, hold]) => hold.expiresAt <= now);
  for (const [id, hold] of over.toSorted(([x], [y]) => (x < y ? -1 : 1))) {
    book(a, id, 'hold_expired', 0n, 0, hold);
    a.holds.delete(id);
  }
}

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
    priority: 50,
    createdAt: now,
    expiresAt,
    endsAt: expiresAt,
    voided: false,
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

/** @returns what had to be written off */
function takeBack(a: ModelAccount, id: string, original: ModelTransfer): bigint {
  const grant = a.grants.find(g => g.id === original.id);
  if (!grant) throw new Error('every grant transfer has its grant');
  const taken = min(grant.amount - grant.forfeited, max(0n, posted(a) - held(a)));
  if (taken < original.amount) book(a, null, 'write_off', original.amount - taken, 4);
  book(a, id, 'reversal', -original.amount, original.contra);
  const part = min(taken, grant.remaining);
  grant.remaining -= part;
  grant.forfeited += part;
  burn(a, taken - part);
  return original.amount - taken;
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
        ? takeBack(account, id, original)
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

/** Grants that still have credit, as the customer sees them. */
export function grantsInOrder(a: ModelAccount): ModelGrant[] {
  return inOrder(a.grants).filter(g => g.remaining > 0n);
}

/** Contra codes that the histories use: Base for live accounts, Base Sepolia for the wrong money. */
export const BASE = RECEIPTS['eip155:8453'];
export const BASE_SEPOLIA = RECEIPTS['eip155:84532'];
