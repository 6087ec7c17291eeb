import * as fc from 'fast-check';
import type { Pool } from 'pg';
import { expect } from 'vitest';
import type { CellName } from '../../src/db/queryable.ts';
import { openAccount } from '../../src/ledger/accounts.ts';
import { type Batcher, createBatcher } from '../../src/ledger/batcher.ts';
import { transferCode } from '../../src/ledger/chart.ts';
import { credit } from '../../src/ledger/grants.ts';
import { sweep } from '../../src/ledger/sweeps.ts';
import { newId } from '../../src/lib/ids.ts';
import { type Answer, arbitraryStep, type LinearStep, onLedger, onModel } from './linear-steps.ts';
import * as model from './model.ts';
import * as orders from './model-orders.ts';
import { expectSoundBooks } from './support.ts';

/** One call as its caller saw it; times from one clock, so that calls that did not overlap are ordered. */
interface Call {
  step: LinearStep;
  /** Which of the two batchers it went through. */
  batcher: number;
  /** The ledger's time of the call. */
  now: number;
  startedAt: number;
  endedAt: number;
  answer: Answer;
}

/** What the ledger has written, in the order of the account's sequence. */
type Log = readonly Pick<model.ModelTransfer, 'code' | 'amount' | 'balanceAfter' | 'holdAmount' | 'contra'>[];

const FUNDS = 12n;
const CLIENTS = 4;
/** The first id is that of the grant that the account begins with. */
const IDS = 6;
const DAY = 86_400_000;

/** Phases in which all clients are at work at once; between them the clock moves on. */
const phases = fc.array(
  fc.record({
    waitMs: fc.integer({ min: 0, max: 20_000 }),
    clients: fc.array(fc.array(arbitraryStep(IDS), { minLength: 1, maxLength: 3 }), {
      minLength: CLIENTS,
      maxLength: CLIENTS,
    }),
  }),
  { minLength: 1, maxLength: 3, size: 'max' },
);

type Phases = typeof phases extends fc.Arbitrary<infer T> ? T : never;

/** What a run must have met: otherwise it has not tested what it claims to. */
const MUST_MEET = [
  'debit applied',
  'hold applied',
  'capture applied',
  'release applied',
  'renew applied',
  'grant applied',
  'void applied',
  'refund applied',
  'reverse applied',
  'adjust applied',
  'freeze applied',
  'line applied',
];
const MUST_BOOK = ['hold_expired', 'grant_expired', 'grant_voided', 'write_off', 'recovery', 'unfreeze'];

let nextAccountId = 500_000_000n;

/**
 * Several clients act on one account at once: they spend through two batchers, as two processes would, and correct
 * and sweep in calls of their own. Whatever each of them was told, and what is in the log, must fit one order of all
 * calls in which calls that did not overlap keep their order.
 */
export async function expectLinearizable(
  pool: Pool,
  cell: CellName,
  { seed, runs }: { seed: number; runs: number },
): Promise<void> {
  const met = new Set<string>();
  // A sweep is of the whole cell and says how much it ended: nothing may be left of anybody else.
  await sweep(pool, cell, { now: new Date(Date.now() + 2 * DAY) });
  await fc.assert(
    fc.asyncProperty(phases, async drawn => {
      const { calls, log, ids, start } = await play(pool, cell, drawn);
      for (const { step, answer } of calls) met.add(`${step.kind} ${answer.status}`);
      for (const { code } of log) met.add(code);
      expect(hasLinearOrder(calls, log, ids, start), show({ calls, log })).toBe(true);
      await sweep(pool, cell, { now: new Date(start + DAY) });
    }),
    { seed, numRuns: runs },
  );
  await expectSoundBooks(pool, cell);
  expect([...MUST_MEET, ...MUST_BOOK].filter(outcome => !met.has(outcome))).toEqual([]);
}

async function play(pool: Pool, cell: CellName, drawn: Phases) {
  nextAccountId += 1n;
  const accountId = nextAccountId;
  const start = Date.now();
  let now = start;
  const ids = Array.from({ length: IDS }, () => newId(start));
  await openAccount(pool, cell, { accountId, environment: 'live', now: new Date(now) });
  const funds = { accountId, id: ids[0] ?? '', amountNanoUsd: FUNDS, contra: model.BASE } as const;
  await credit(pool, cell, { ...funds, now: new Date(now) });
  const clock = () => new Date(now);
  const batchers = [1, 2].map(() => createBatcher({ db: pool, cell, now: clock }));
  const calls: Call[] = [];
  for (const { waitMs, clients } of drawn) {
    now += waitMs;
    await Promise.all(
      clients.map(async (script, client) => {
        for (const step of script) {
          const startedAt = performance.now();
          const parts = {
            pool,
            cell,
            batcher: batchers[client % 2] as Batcher,
            accountId,
            ids,
            now: clock(),
          };
          const answer = await onLedger(parts, step);
          calls.push({ step, batcher: client % 2, now, startedAt, endedAt: performance.now(), answer });
        }
      }),
    );
  }
  return { calls, log: await readLog(pool, cell, accountId), ids, start };
}

async function readLog(pool: Pool, cell: CellName, accountId: bigint): Promise<Log> {
  const { rows } = await pool.query<
    Record<'amount' | 'balance_after' | 'hold_amount', string> & Record<'code' | 'contra', number>
  >(
    `SELECT code, amount, balance_after, hold_amount, contra FROM "${cell}".transfer
     WHERE account_id = $1 ORDER BY seq`,
    [accountId],
  );
  return rows.map(row => ({
    code: transferCode(row.code),
    amount: BigInt(row.amount),
    balanceAfter: BigInt(row.balance_after),
    holdAmount: BigInt(row.hold_amount),
    contra: row.contra,
  }));
}

/** Searches an order of the calls that the model would answer in the same way and with the same log. */
function hasLinearOrder(calls: readonly Call[], log: Log, ids: readonly string[], start: number): boolean {
  const account = model.newModelAccount();
  const funds = {
    id: ids[0] ?? '',
    amount: FUNDS,
    source: 'paid',
    contra: model.BASE,
    priority: 50,
  } as const;
  orders.addGrant(account, { ...funds, expiresAt: Number.POSITIVE_INFINITY }, start);

  function search(state: model.ModelAccount, left: readonly Call[]): boolean {
    if (left.length === 0) return state.log.length === log.length;
    const firstEnd = Math.min(...left.map(call => call.endedAt));
    return left.some((call, index) => {
      if (call.startedAt > firstEnd) return false;
      if (calls.some(other => !left.includes(other) && isOneWith(other, call)))
        return search(state, left.toSpliced(index, 1));
      const next = structuredClone(state);
      const told = onModel(next, ids, call.step, call.now);
      return (
        isAnsweredAs(call.answer, told) &&
        isBegunBy(log, next.log, state.log.length) &&
        search(next, left.toSpliced(index, 1))
      );
    });
  }

  return isBegunBy(log, account.log, 0) && search(account, calls);
}

const SPENDING = ['debit', 'hold', 'capture', 'release', 'renew'];

/** A batcher answers callers who ask for the same thing while it waits to be sent by one booking. */
function isOneWith(taken: Call, call: Call): boolean {
  if (!SPENDING.includes(call.step.kind)) return false;
  const overlap = taken.startedAt < call.endedAt && call.startedAt < taken.endedAt;
  const isSame = show([taken.step, taken.answer]) === show([call.step, call.answer]);
  return overlap && isSame && taken.batcher === call.batcher && call.answer.status === 'applied';
}

function isAnsweredAs(answer: Answer, told: Answer): boolean {
  return told.status === answer.status && told.available === answer.available && told.ended === answer.ended;
}

/** True when the log continues with what the model has booked from `from` on. */
function isBegunBy(log: Log, booked: readonly model.ModelTransfer[], from: number): boolean {
  return booked.slice(from).every((line, index) => {
    const found = log[from + index];
    return (
      found?.code === line.code &&
      found.amount === line.amount &&
      found.balanceAfter === line.balanceAfter &&
      found.holdAmount === line.holdAmount &&
      found.contra === line.contra
    );
  });
}

function show(value: unknown): string {
  return JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? `${each}` : each));
}
