import { setTimeout as sleep } from 'node:timers/promises';
import { Client, type Pool } from 'pg';
import { countBlocked, endHalf } from './crash-locks.ts';
import { staysUnpaid } from './crash-matrix.ts';
import type { CrashPoint } from './crash-points.ts';
import type { CellPayment, CrashLane, Run } from './crash-run.ts';
import { startGatewayProcess } from './gateway-process.ts';
import type { OwnChains } from './own-chains.ts';
import { findStored, gapOf, readOutcomes, readPayments } from './settle-up.ts';

/** How a gateway watches payments in a run with a reorganisation. */
export const REVERSAL_TIMES = { finalityCheckMs: 200, reorgGraceMs: 300, maintainSenderEveryMs: 200 };

const NEVER_MS = 3_600_000;
const POLL_MS = 50;
const NUDGE_EVERY_MS = 300;
/** Beyond this a point is not reached any more. */
const TIMEOUT_MS = 60_000;

/** What a reversal does last, so that nothing of it is committed while nobody can do it. */
const LOCK_EVENTS = 'BEGIN; LOCK TABLE cell_0.outbox IN SHARE MODE';

/**
 * Lets a gateway credit every payment, undoes all of them, and kills the gateway at the point: while every reversal waits to
 * be committed, half of which then are, or when all of them are booked.
 * @returns the payments that were there
 */
export async function killInReversal(
  lane: CrashLane,
  { at }: CrashPoint,
  { env, sql, payments }: Run,
): Promise<CellPayment[]> {
  const { chains, stub } = lane;
  const gateway = await startGatewayProcess(env, {
    finalityCheckMs: NEVER_MS,
    reorgGraceMs: REVERSAL_TIMES.reorgGraceMs,
    aheadMs: chains.aheadMs(),
  });
  for (const payment of payments) void gateway.present(payment.header);
  const inState = async (state: string) => {
    const stored = await readPayments(sql);
    return payments.filter(payment => findStored(stored, payment)?.state === state);
  };
  await until(async () => (await inState('credited')).length === payments.length);

  for (const { key } of payments) await stub.plan(key, 'unknown-code');
  await gateway.tell({ nodeFault: 'send-dropped' });
  const { rows } = await sql.query<{ first: string }>(
    'SELECT min(block_number) AS first FROM cell_0.payment',
  );
  await chains.undoBlocks(BigInt(rows[0]?.first ?? 0), stub.gasPayer);
  const lock = new Client({ connectionString: env['DATABASE_URL'] });
  await lock.connect();
  try {
    if (at === 'while-reversing') await lock.query(LOCK_EVENTS);
    await nudge(sql);
    const isReached =
      at === 'while-reversing'
        ? async () => (await countBlocked(lock, 'reverse_payment')) === payments.length
        : async () => (await inState('reversed')).length === payments.length;
    await until(isReached);
    await gateway.kill();
    if (at === 'while-reversing') await endHalf(lock, 'reverse_payment');
  } finally {
    await lock.end();
  }
  // Their facilitator sends them again, when it is asked.
  for (const { key, fault, isGivenUp } of payments) if (!isGivenUp) await stub.plan(key, fault);
  return [...payments];
}

/** Waits until every payment that is sent again is credited anew, and no other one is credited. */
export async function waitUntilBack(
  chains: OwnChains,
  sql: Pool,
  payments: readonly CellPayment[],
): Promise<void> {
  await until(async () => {
    await nudge(sql);
    await sleep(NUDGE_EVERY_MS);
    const outcomes = await readOutcomes(chains, sql, payments);
    return outcomes.every(outcome =>
      staysUnpaid(outcome.payment)
        ? outcome.stored?.state === 'reversed'
        : outcome.moved === 1 && gapOf(outcome) === undefined,
    );
  });
}

/** The pause between two looks at one payment grows to minutes; here nobody wants to wait for it. */
async function nudge(sql: Pick<Pool | Client, 'query'>): Promise<void> {
  await sql.query('UPDATE cell_0.payment SET due_at = now() WHERE final_at IS NULL');
}

export async function until(isTrue: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + TIMEOUT_MS;
  while (!(await isTrue())) {
    if (performance.now() > deadlineMs) throw new Error('it was not reached in time');
    await sleep(POLL_MS);
  }
}
