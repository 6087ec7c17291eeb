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
  /** The part of it that a void took. */
  voidedAmount: bigint;
  priority: number;
  createdAt: number;
  expiresAt: number;
  endsAt: number;
  voided: boolean;
  reversed: boolean;
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

export interface ModelAction {
  action: string;
  originalId: string | null;
  contra: number | null;
  amount: bigint;
  /** Written off by a reversal, or brought back (negative) by a refund or by credit that was not used after all. */
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

export const MAX = 4611686018427387903n;
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

export function inOrder(grants: ModelGrant[]): ModelGrant[] {
  return grants.toSorted(
    (x, y) =>
      x.priority - y.priority ||
      x.expiresAt - y.expiresAt ||
      x.createdAt - y.createdAt ||
      (x.id < y.id ? -1 : 1),
  );
}

export const min = (x: bigint, y: bigint) => (x < y ? x : y);
export const max = (x: bigint, y: bigint) => (x > y ? x : y);

export function burn(a: ModelAccount, amount: bigint, except?: ModelGrant): void {
  let left = amount;
  for (const grant of inOrder(a.grants)) {
    if (grant === except) continue;
    const part = min(left, grant.remaining);
    grant.remaining -= part;
    left -= part;
  }
  a.deficit += left;
}

export function addCredit(a: ModelAccount, grant: ModelGrant): void {
  a.grants.push(grant);
  const owed = a.deficit;
  a.deficit = 0n;
  burn(a, owed);
}

export function book(
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

/** Voided money of a chain is owed back. */
export function voidContra(grant: ModelGrant): number {
  return grant.contra >= 100 ? 5 : grant.contra;
}

/** What every call does first to the accounts that it names. */
export function endDueGrants(a: ModelAccount, now: number, id: string | null = null): void {
  let next = id;
  for (const grant of inOrder(a.grants)) {
    if (grant.endsAt > now || grant.remaining === 0n) continue;
    const part = min(grant.remaining, posted(a) - held(a));
    if (part <= 0n) break;
    if (grant.reversed) {
      book(a, null, 'recovery', -part, 4);
      a.actions.set(`recover ${a.log.length}`, {
        action: 'recover',
        originalId: grant.id,
        contra: null,
        amount: part,
        uncollected: -part,
      });
    } else {
      book(
        a,
        next,
        grant.voided ? 'grant_voided' : 'grant_expired',
        -part,
        grant.voided ? voidContra(grant) : 3,
      );
      next = null;
      if (grant.voided) grant.voidedAmount += part;
    }
    grant.remaining -= part;
    grant.forfeited += part;
  }
  if (next !== null) book(a, next, 'grant_voided', 0n, 0);
}

export function find(a: ModelAccount, id: string): ModelTransfer | undefined {
  return a.log.find(t => t.id === id);
}

function idTime(id: string): number {
  return Number.parseInt(id.replace('-', '').slice(0, 12), 16);
}

/** The tests' clocks stay far inside the window of the log, so only absurd ids fall outside. */
export function inWindow(id: string, now: number): boolean {
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

/** Grants that still have credit, as the customer sees them. */
export function grantsInOrder(a: ModelAccount): ModelGrant[] {
  return inOrder(a.grants).filter(g => g.remaining > 0n);
}

/** Contra codes that the histories use: Base for live accounts, Base Sepolia for the wrong money. */
export const BASE = RECEIPTS['eip155:8453'];
export const BASE_SEPOLIA = RECEIPTS['eip155:84532'];
