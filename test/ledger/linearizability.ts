import * as fc from 'fast-check';
import type { Pool } from 'pg';
import { expect } from 'vitest';
import type { CellName } from '../../src/db/queryable.ts';
import { createBatcher } from '../../src/ledger/batcher.ts';
import type { SpendingOperation } from '../../src/ledger/spending.ts';
import { newId } from '../../src/lib/ids.ts';
import * as model from './model.ts';
import { expectSoundBooks, openFunded } from './support.ts';

/** One call as its caller saw it; times from one clock, so that calls that did not overlap are ordered. */
interface Call {
  operation: SpendingOperation;
  startedAt: number;
  endedAt: number;
  status: string;
  available: bigint;
}

const FUNDS = 12n;
const CLIENTS = 4;
const id = fc.integer({ min: 0, max: 3 });
const amount = fc.bigInt({ min: 1n, max: 6n });

const drawn = fc.oneof(
  fc.record({ kind: fc.constant('debit' as const), id, amount }),
  fc.record({ kind: fc.constant('hold' as const), id, amount }),
  fc.record({ kind: fc.constant('capture' as const), id, amount }),
  fc.record({ kind: fc.constant('release' as const), id }),
);

type Drawn = typeof drawn extends fc.Arbitrary<infer T> ? T : never;

const scripts = fc.array(fc.array(drawn, { minLength: 1, maxLength: 4 }), {
  minLength: CLIENTS,
  maxLength: CLIENTS,
});

/**
 * Several clients act on one account at once, through two batchers as two processes would. Whatever each of
 * them was told must fit one order of all calls in which calls that did not overlap keep their order.
 */
export async function expectLinearizable(
  pool: Pool,
  cell: CellName,
  { seed, runs }: { seed: number; runs: number },
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(scripts, async clients => {
      const accountId = await openFunded(pool, cell, FUNDS);
      const batchers = [createBatcher({ db: pool, cell }), createBatcher({ db: pool, cell })];
      const ids = Array.from({ length: 4 }, () => newId());
      const calls: Call[] = [];
      await Promise.all(
        clients.map(async (script, client) => {
          for (const step of script) {
            const operation = toOperation(step, accountId, ids[step.id] ?? newId());
            const startedAt = performance.now();
            const result = await batchers[client % 2]?.submit(operation);
            const endedAt = performance.now();
            calls.push({
              operation,
              startedAt,
              endedAt,
              status: result?.status ?? '',
              available: result?.availableNanoUsd ?? 0n,
            });
          }
        }),
      );
      expect(
        hasLinearOrder(calls),
        JSON.stringify(calls, (_, v) => (typeof v === 'bigint' ? `${v}` : v)),
      ).toBe(true);
    }),
    { seed, numRuns: runs },
  );
  await expectSoundBooks(pool, cell);
}

function toOperation(step: Drawn, accountId: bigint, operationId: string): SpendingOperation {
  const target = { accountId, id: operationId };
  switch (step.kind) {
    case 'hold':
      return { kind: 'hold', ...target, amountNanoUsd: step.amount, lifetimeMs: 3_600_000 };
    case 'release':
      return { kind: 'release', ...target };
    case 'capture':
      return { kind: 'capture', ...target, amountNanoUsd: step.amount, overage: 'available' };
    default:
      return { kind: 'debit', ...target, amountNanoUsd: step.amount };
  }
}

/**
 * Searches an order of the calls that the model would answer in the same way. A repetition that shared its
 * batch with the first call may be told "applied" as well: both were answered by the same booking.
 */
export function hasLinearOrder(calls: readonly Call[]): boolean {
  const start = model.newModelAccount();
  start.grants.push(fundingGrant());
  start.log.push({
    id: null,
    code: 'grant',
    amount: FUNDS,
    balanceAfter: FUNDS,
    holdAmount: 0n,
    holdLifetimeMs: 0,
    contra: 100,
  });
  return search(start, calls);
}

function fundingGrant(): model.ModelGrant {
  return {
    id: 'funds',
    source: 'paid',
    contra: model.BASE,
    amount: FUNDS,
    remaining: FUNDS,
    forfeited: 0n,
    voidedAmount: 0n,
    priority: 50,
    createdAt: 0,
    expiresAt: Number.POSITIVE_INFINITY,
    endsAt: Number.POSITIVE_INFINITY,
    voided: false,
    reversed: false,
  };
}

function search(state: model.ModelAccount, left: readonly Call[]): boolean {
  if (left.length === 0) return true;
  const firstEnd = Math.min(...left.map(call => call.endedAt));
  return left.some((call, index) => {
    if (call.startedAt > firstEnd) return false;
    const next = structuredClone(state);
    const result = model.spend(next, call.operation, Date.now());
    const same = result.status === call.status || (result.status === 'replayed' && call.status === 'applied');
    return same && result.available === call.available && search(next, left.toSpliced(index, 1));
  });
}
