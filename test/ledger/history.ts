import * as fc from 'fast-check';
import type { Pool } from 'pg';
import { expect } from 'vitest';
import type { CellName } from '../../src/db/queryable.ts';
import { openAccount } from '../../src/ledger/accounts.ts';
import { listGrants, readBalance } from '../../src/ledger/balances.ts';
import { transferCode } from '../../src/ledger/chart.ts';
import { adjust, refund, reverseTransfer, setCreditLine, setFrozen } from '../../src/ledger/corrections.ts';
import { addGrant, voidGrant } from '../../src/ledger/grants.ts';
import { applyOperations, type SpendingOperation } from '../../src/ledger/spending.ts';
import type { LedgerResult } from '../../src/ledger/status.ts';
import { sweep } from '../../src/ledger/sweeps.ts';
import { newId } from '../../src/lib/ids.ts';
import * as model from './model.ts';
import * as orders from './model-orders.ts';

/** Two accounts, a small set of ids and small amounts: collisions, replays and conflicts come by themselves. */
const ACCOUNTS = 2;
const IDS = 16;

const account = fc.oneof(
  { weight: 14, arbitrary: fc.constant(0) },
  { weight: 5, arbitrary: fc.constant(1) },
  { weight: 1, arbitrary: fc.constant(ACCOUNTS) },
);
const id = fc.oneof(
  { weight: 25, arbitrary: fc.integer({ min: 0, max: IDS - 3 }) },
  { weight: 1, arbitrary: fc.integer({ min: IDS - 2, max: IDS - 1 }) },
);
const hugeAmount = fc.constantFrom(2n ** 62n - 1n, 2n ** 62n, 2n ** 63n - 1n);
const amount = fc.oneof(
  { weight: 40, arbitrary: fc.bigInt({ min: 1n, max: 9n }) },
  { weight: 1, arbitrary: hugeAmount },
);
const creditAmount = fc.oneof(
  { weight: 30, arbitrary: fc.bigInt({ min: 5n, max: 40n }) },
  { weight: 1, arbitrary: hugeAmount },
);
/** Aimed: the number picks among what is there (open or expired holds, grants, debits), not among all ids. */
const aimed = fc.constantFrom(true, true, true, false);
const lifetimeMs = fc.integer({ min: 1, max: 60_000 });

const spending = fc.oneof(
  fc.record({
    kind: fc.constant('debit' as const),
    account,
    id,
    amount,
    writeOff: fc.constantFrom(false, false, false, true),
  }),
  fc.record({ kind: fc.constant('hold' as const), account, id, amount, lifetimeMs }),
  fc.record({
    kind: fc.constant('capture' as const),
    account,
    id,
    aimed,
    amount: fc.oneof(amount, fc.constant(0n)),
    overage: fc.constantFrom('refuse' as const, 'available' as const, 'write_off' as const),
  }),
  fc.record({ kind: fc.constant('release' as const), account, id, aimed }),
  fc.record({ kind: fc.constant('renew' as const), account, id, aimed, lifetimeMs }),
);

const step = fc.oneof(
  {
    weight: 14,
    arbitrary: fc.record({
      kind: fc.constant('spend' as const),
      operations: fc.array(spending, { minLength: 1, maxLength: 8 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('grant' as const),
      account,
      id,
      amount: creditAmount,
      source: fc.constantFrom('paid' as const, 'promotional' as const),
      contra: fc.constantFrom(2 as const, model.BASE, model.BASE, model.BASE, model.BASE, model.BASE_SEPOLIA),
      priority: fc.constantFrom(40, 50),
      lifetimeMs: fc.option(fc.integer({ min: -5_000, max: 120_000 })),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('void' as const), account, id, grant: id, aimed }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('refund' as const), account, id, original: id, amount, aimed }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('reverse' as const), account, id, original: id, aimed }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('adjust' as const),
      account,
      id,
      amount: fc.oneof(amount, fc.bigInt({ min: -20n, max: -1n })),
      contra: fc.constantFrom(6 as const, model.BASE, model.BASE_SEPOLIA),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('freeze' as const),
      account,
      id,
      frozen: fc.constantFrom(true, false, false),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('line' as const),
      account,
      id,
      amount: fc.bigInt({ min: 0n, max: 15n }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 30_000 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('sweep' as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('again' as const), index: fc.nat({ max: 1_000 }) }) },
);

export type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** A random history of 20 to 60 calls. */
export const history = fc.array(step, { minLength: 20, maxLength: 60, size: 'max' });

/** How often each outcome was met, by operation: a test that never met a case has not tested it. */
export const outcomes = new Map<string, number>();

function count(kind: string, status: string): void {
  const key = `${kind} ${status}`;
  outcomes.set(key, (outcomes.get(key) ?? 0) + 1);
}

let nextAccountId = 1n;
const REASON = { reason: 'test', actor: 'history' };

/** Plays a history on the database and on the model, and expects the same answers and the same books. */
export async function playHistory(pool: Pool, cell: CellName, steps: readonly Step[]): Promise<void> {
  const start = Date.now();
  let now = start;
  const first = nextAccountId;
  nextAccountId += 10n;
  // The last number is never opened: operations on it meet an unknown account.
  const accounts = new Map<bigint, model.ModelAccount>();
  for (let i = 0n; i < BigInt(ACCOUNTS); i += 1n) {
    await openAccount(pool, cell, { accountId: first + i, environment: 'live', now: new Date(now) });
    accounts.set(first + i, model.newModelAccount());
  }
  const ids = Array.from({ length: IDS }, () => newId(start));
  ids[IDS - 2] = newId(0);
  ids[IDS - 1] = newId(start + 3_600_000 * 24 * 20);
  const idAt = (index: number) => ids[index] ?? newId(start);

  const played: Step[] = [];
  for (const drawn of steps) {
    const current = drawn.kind === 'again' ? played[drawn.index % Math.max(1, played.length)] : drawn;
    if (!current || current.kind === 'again') continue;
    played.push(current);
    const at = { now: new Date(now) };
    if (current.kind === 'wait') now += current.ms;
    else if (current.kind === 'sweep') {
      await sweep(pool, cell, at);
      for (const a of accounts.values()) {
        model.sweepHolds(a, now);
        model.endDueGrants(a, now);
      }
    } else if (current.kind === 'spend') {
      const seen = new Set<string>();
      const operations = current.operations
        .map(o => {
          const accountId = first + BigInt(o.account);
          const aim = 'aimed' in o && o.aimed ? pick(holdsOf(accounts.get(accountId)), o.id) : undefined;
          return toOperation(o, accountId, aim ?? idAt(o.id));
        })
        .filter(o => {
          const key = `${o.accountId} ${o.id}`;
          return seen.has(key) ? false : seen.add(key);
        });
      const actual = await applyOperations(pool, cell, operations, at);
      const expected = operations.map(o => model.spend(accounts.get(o.accountId), o, now));
      operations.forEach((o, index) => count(o.kind, expected[index]?.status ?? ''));
      expect(actual.map(r => [r.status, r.availableNanoUsd])).toEqual(
        expected.map(r => [r.status, r.available]),
      );
    } else {
      const accountId = first + BigInt(current.account);
      const aim = aimOf(accounts.get(accountId), current) ?? '';
      const actual = await order(pool, cell, current, accountId, idAt, aim, at.now);
      const expected = orderOnModel(accounts.get(accountId), current, idAt, aim, now);
      count(current.kind, expected.status);
      expect({ step: current.kind, ...actual }).toEqual({
        step: current.kind,
        status: expected.status,
        availableNanoUsd: expected.available,
        postedNanoUsd: expected.posted,
      });
    }
  }
  for (const [accountId, a] of accounts) {
    for (const t of a.log) {
      count('log', t.code);
      if (t.code === 'reversal' && t.amount > 0n && t.contra !== 1)
        count('log', 'reversal of forfeited credit');
    }
    for (const { action } of a.actions.values()) count('action', action);
    await compareAccount(pool, cell, accountId, a, now);
  }
}

type Spending = typeof spending extends fc.Arbitrary<infer T> ? T : never;
type OrderStep = Exclude<Step, { kind: 'wait' | 'sweep' | 'spend' | 'again' }>;

function pick(candidates: string[], index: number): string | undefined {
  return candidates[index % Math.max(1, candidates.length)];
}

function holdsOf(a: model.ModelAccount | undefined): string[] {
  if (!a) return [];
  return [...a.holds.keys(), ...a.log.filter(t => t.code === 'hold_expired').flatMap(t => t.id ?? [])];
}

/** The transfer or grant that an order is about. */
function aimOf(a: model.ModelAccount | undefined, s: OrderStep): string | undefined {
  if (!a || !('aimed' in s) || !s.aimed) return undefined;
  if (s.kind === 'void')
    return pick(
      a.grants.map(g => g.id),
      s.grant,
    );
  // An expired hold stands for its late capture.
  const spent = ['debit', 'capture', 'hold_expired'];
  const codes = s.kind === 'refund' ? spent : [...spent, 'grant'];
  const ids = a.log.filter(t => codes.includes(t.code) && !t.id?.startsWith('late')).flatMap(t => t.id ?? []);
  return pick(ids, s.original);
}

function toOperation(o: Spending, accountId: bigint, operationId: string): SpendingOperation {
  const target = { accountId, id: operationId };
  switch (o.kind) {
    case 'debit':
      return { kind: o.kind, ...target, amountNanoUsd: o.amount, writeOff: o.writeOff };
    case 'hold':
      return { kind: o.kind, ...target, amountNanoUsd: o.amount, lifetimeMs: o.lifetimeMs };
    case 'capture':
      return { kind: o.kind, ...target, amountNanoUsd: o.amount, overage: o.overage };
    case 'release':
      return { kind: o.kind, ...target };
    default:
      return { kind: o.kind, ...target, lifetimeMs: o.lifetimeMs };
  }
}

function order(
  pool: Pool,
  cell: CellName,
  s: OrderStep,
  accountId: bigint,
  idAt: (index: number) => string,
  aim: string,
  now: Date,
): Promise<LedgerResult> {
  const base = { accountId, id: idAt(s.id), now, ...REASON };
  switch (s.kind) {
    case 'grant': {
      const { amount: amountNanoUsd, source, contra, priority } = s;
      const expiresAt = s.lifetimeMs === null ? null : new Date(now.getTime() + s.lifetimeMs);
      return addGrant(pool, cell, { ...base, amountNanoUsd, source, contra, priority, expiresAt });
    }
    case 'void':
      return voidGrant(pool, cell, { ...base, grantId: aim || idAt(s.grant) });
    case 'refund':
      return refund(pool, cell, { ...base, originalId: aim || idAt(s.original), amountNanoUsd: s.amount });
    case 'reverse':
      return reverseTransfer(pool, cell, { ...base, originalId: aim || idAt(s.original) });
    case 'adjust':
      return adjust(pool, cell, { ...base, amountNanoUsd: s.amount, contra: s.contra });
    case 'freeze':
      return setFrozen(pool, cell, { ...base, frozen: s.frozen });
    default:
      return setCreditLine(pool, cell, { ...base, amountNanoUsd: s.amount });
  }
}

function orderOnModel(
  a: model.ModelAccount | undefined,
  s: OrderStep,
  idAt: (index: number) => string,
  aim: string,
  now: number,
): model.ModelResult {
  const operationId = idAt(s.id);
  switch (s.kind) {
    case 'grant': {
      const expiresAt = s.lifetimeMs === null ? Number.POSITIVE_INFINITY : now + s.lifetimeMs;
      const { amount: granted, source, contra, priority } = s;
      return orders.addGrant(
        a,
        { id: operationId, amount: granted, source, contra, priority, expiresAt },
        now,
      );
    }
    case 'void':
      return orders.voidGrant(a, operationId, aim || idAt(s.grant), now);
    case 'refund':
      return orders.refund(a, operationId, aim || idAt(s.original), s.amount, now);
    case 'reverse':
      return orders.reverse(a, operationId, aim || idAt(s.original), now);
    case 'adjust':
      return orders.adjust(a, operationId, s.amount, s.contra, now);
    case 'freeze':
      return orders.setFrozen(a, operationId, s.frozen, now);
    default:
      return orders.setCreditLine(a, operationId, s.amount, now);
  }
}

/** The whole state of one account: balance, grants in the order of use, and every line of the log. */
export async function compareAccount(
  pool: Pool,
  cell: CellName,
  accountId: bigint,
  a: model.ModelAccount,
  now: number,
): Promise<void> {
  model.endDueGrants(a, now);
  const grants = await listGrants(pool, cell, accountId, { now: new Date(now) });
  const balance = await readBalance(pool, cell, accountId, { now: new Date(now) });
  expect(balance).toEqual({
    environment: a.environment,
    frozen: a.frozen,
    postedNanoUsd: model.posted(a),
    heldNanoUsd: model.held(a),
    availableNanoUsd: model.available(a),
    creditLineNanoUsd: a.creditLine,
  });
  expect(grants.map(g => [g.id, g.remainingNanoUsd])).toEqual(
    model.grantsInOrder(a).map(g => [g.id, g.remaining]),
  );
  const { rows } = await pool.query<
    Record<'amount' | 'balance_after' | 'hold_amount', string> &
      Record<'code' | 'contra' | 'hold_lifetime_ms', number>
  >(
    `SELECT code, amount, balance_after, hold_amount, hold_lifetime_ms, contra FROM "${cell}".transfer WHERE account_id = $1 ORDER BY seq`,
    [accountId],
  );
  expect(
    rows.map(r => ({
      code: transferCode(r.code),
      amount: BigInt(r.amount),
      balanceAfter: BigInt(r.balance_after),
      holdAmount: BigInt(r.hold_amount),
      holdLifetimeMs: r.hold_lifetime_ms,
      contra: r.contra,
    })),
  ).toEqual(
    a.log.map(({ code, amount: moved, balanceAfter, holdAmount, holdLifetimeMs, contra }) => ({
      code,
      amount: moved,
      balanceAfter,
      holdAmount,
      holdLifetimeMs,
      contra,
    })),
  );
}
