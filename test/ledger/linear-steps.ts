import * as fc from 'fast-check';
import type { Pool } from 'pg';
import type { CellName } from '../../src/db/queryable.ts';
import type { Batcher } from '../../src/ledger/batcher.ts';
import { adjust, refund, reverseTransfer, setCreditLine, setFrozen } from '../../src/ledger/corrections.ts';
import { addGrant, voidGrant } from '../../src/ledger/grants.ts';
import type { SpendingOperation } from '../../src/ledger/spending.ts';
import type { LedgerResult } from '../../src/ledger/status.ts';
import { sweep } from '../../src/ledger/sweeps.ts';
import * as model from './model.ts';
import * as orders from './model-orders.ts';

/** What a caller was told. */
export interface Answer {
  status: string;
  available?: bigint;
  /** Holds that a sweep ended. */
  ended?: number;
}

export interface LedgerParts {
  pool: Pool;
  cell: CellName;
  batcher: Batcher;
  accountId: bigint;
  ids: readonly string[];
  now: Date;
}

const BY = { reason: 'test', actor: 'client' };

const lifetimeMs = fc.integer({ min: 1, max: 30_000 });
const amount = fc.bigInt({ min: 1n, max: 6n });

/** Any operation of the ledger on the one account, over `ids` ids. */
export function arbitraryStep(ids: number) {
  const id = fc.integer({ min: 0, max: ids - 1 });
  /** The grant that the account begins with, or whatever took an id since. */
  const original = fc.oneof(fc.constant(0), id);
  const of = <K extends string>(kind: K) => fc.constant(kind);
  return fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: of('debit'), id, amount, writeOff: fc.boolean() }) },
    { weight: 4, arbitrary: fc.record({ kind: of('hold'), id, amount, lifetimeMs }) },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: of('capture'),
        id,
        amount: fc.bigInt({ min: 0n, max: 6n }),
        overage: fc.constantFrom('refuse' as const, 'available' as const, 'write_off' as const),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: of('release'), id }) },
    { weight: 2, arbitrary: fc.record({ kind: of('renew'), id, lifetimeMs }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: of('grant'),
        id,
        amount,
        source: fc.constantFrom('paid' as const, 'promotional' as const),
        priority: fc.constantFrom(40, 50),
        lifetimeMs: fc.option(lifetimeMs),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: of('void'), id, original }) },
    { weight: 2, arbitrary: fc.record({ kind: of('refund'), id, original: id, amount }) },
    { weight: 3, arbitrary: fc.record({ kind: of('reverse'), id, original }) },
    { weight: 1, arbitrary: fc.record({ kind: of('adjust'), id, amount: fc.constantFrom(-3n, 2n, 4n) }) },
    { weight: 1, arbitrary: fc.record({ kind: of('freeze'), id, frozen: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ kind: of('line'), id, amount: fc.constantFrom(0n, 3n, 7n) }) },
    { weight: 2, arbitrary: fc.record({ kind: of('sweep') }) },
  );
}

export type LinearStep = ReturnType<typeof arbitraryStep> extends fc.Arbitrary<infer T> ? T : never;
type Spending = Extract<LinearStep, { kind: 'debit' | 'hold' | 'capture' | 'release' | 'renew' }>;
type OrderStep = Exclude<LinearStep, Spending | { kind: 'sweep' }>;

function isSpending(step: LinearStep): step is Spending {
  return ['debit', 'hold', 'capture', 'release', 'renew'].includes(step.kind);
}

function toOperation(step: Spending, accountId: bigint, id: string): SpendingOperation {
  const target = { accountId, id };
  switch (step.kind) {
    case 'debit':
      return { kind: 'debit', ...target, amountNanoUsd: step.amount, writeOff: step.writeOff };
    case 'hold':
      return { kind: 'hold', ...target, amountNanoUsd: step.amount, lifetimeMs: step.lifetimeMs };
    case 'capture':
      return { kind: 'capture', ...target, amountNanoUsd: step.amount, overage: step.overage };
    case 'release':
      return { kind: 'release', ...target };
    default:
      return { kind: 'renew', ...target, lifetimeMs: step.lifetimeMs };
  }
}

/** Performs a step on the ledger. */
export async function onLedger(parts: LedgerParts, step: LinearStep): Promise<Answer> {
  const { pool, cell, batcher, accountId, ids, now } = parts;
  if (step.kind === 'sweep') return { status: 'swept', ended: (await sweep(pool, cell, { now })).holds };
  if (isSpending(step)) {
    const result = await batcher.submit(toOperation(step, accountId, ids[step.id] ?? ''));
    return { status: result.status, available: result.availableNanoUsd };
  }
  const result = await order(parts, step);
  return { status: result.status, available: result.availableNanoUsd };
}

function order({ pool, cell, accountId, ids, now }: LedgerParts, step: OrderStep): Promise<LedgerResult> {
  const base = { accountId, id: ids[step.id] ?? '', now, ...BY };
  const originalId = 'original' in step ? (ids[step.original] ?? '') : '';
  switch (step.kind) {
    case 'grant': {
      const { amount: amountNanoUsd, source, priority } = step;
      const expiresAt = step.lifetimeMs === null ? null : new Date(now.getTime() + step.lifetimeMs);
      return addGrant(pool, cell, {
        ...base,
        amountNanoUsd,
        source,
        contra: model.BASE,
        priority,
        expiresAt,
      });
    }
    case 'void':
      return voidGrant(pool, cell, { ...base, grantId: originalId });
    case 'refund':
      return refund(pool, cell, { ...base, originalId, amountNanoUsd: step.amount });
    case 'reverse':
      return reverseTransfer(pool, cell, { ...base, originalId });
    case 'adjust':
      return adjust(pool, cell, { ...base, amountNanoUsd: step.amount, contra: 6 });
    case 'freeze':
      return setFrozen(pool, cell, { ...base, frozen: step.frozen });
    default:
      return setCreditLine(pool, cell, { ...base, amountNanoUsd: step.amount });
  }
}

/** What the model answers to the same step. */
export function onModel(
  account: model.ModelAccount,
  ids: readonly string[],
  step: LinearStep,
  now: number,
): Answer {
  if (step.kind === 'sweep') {
    const before = account.holds.size;
    model.sweepHolds(account, now);
    model.endDueGrants(account, now);
    return { status: 'swept', ended: before - account.holds.size };
  }
  const id = ids[step.id] ?? '';
  const { status, available } = isSpending(step)
    ? model.spend(account, toOperation(step, 1n, id), now)
    : orderOnModel(account, ids, step, now);
  return { status, available };
}

function orderOnModel(
  account: model.ModelAccount,
  ids: readonly string[],
  step: OrderStep,
  now: number,
): model.ModelResult {
  const id = ids[step.id] ?? '';
  const originalId = 'original' in step ? (ids[step.original] ?? '') : '';
  switch (step.kind) {
    case 'grant': {
      const expiresAt = step.lifetimeMs === null ? Number.POSITIVE_INFINITY : now + step.lifetimeMs;
      const { amount: given, source, priority } = step;
      return orders.addGrant(
        account,
        { id, amount: given, source, contra: model.BASE, priority, expiresAt },
        now,
      );
    }
    case 'void':
      return orders.voidGrant(account, id, originalId, now);
    case 'refund':
      return orders.refund(account, id, originalId, step.amount, now);
    case 'reverse':
      return orders.reverse(account, id, originalId, now);
    case 'adjust':
      return orders.adjust(account, id, step.amount, 6, now);
    case 'freeze':
      return orders.setFrozen(account, id, step.frozen, now);
    default:
      return orders.setCreditLine(account, id, step.amount, now);
  }
}
