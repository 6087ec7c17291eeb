import { Client } from 'pg';
import { countBlocked, endAll, endHalf } from './crash-locks.ts';
import type { CrashPoint } from './crash-points.ts';
import { until } from './crash-reversal.ts';
import type { CellPayment, CrashLane, Run } from './crash-run.ts';
import { startGatewayProcess } from './gateway-process.ts';
import { findStored, readPayments, type StoredPayment, waitUntilKnown } from './settle-up.ts';

/** Longer than a run takes: the facilitator answers when it is told to. */
const NEVER_MS = 300_000;

/** What keeps the steps of a failure from their end: the statement that waits, and the table that it writes to. */
const STEPS: Readonly<Record<string, { statement: string; table: string }>> = {
  'before-distrust': { statement: 'distrust_payment_id = $2', table: 'directory.facilitator' },
  'before-fail': { statement: 'fail_payment', table: 'cell_0.outbox' },
};

/** Its facilitator says that the money moved, which it never does. */
const isClaimed = ({ fault }: CellPayment): boolean => fault === 'says-success-sent-nothing';

/**
 * Lets the remote facilitator answer when the time of every payment is over, so that its claim and the chain's proof of the
 * opposite come to the same process at the same moment, and kills that process between two steps of what follows.
 * @returns the payments that were there
 */
export async function killInFailure(
  { chains, stub }: CrashLane,
  { at }: CrashPoint,
  { env, sql, payments, due, deployment }: Run,
): Promise<CellPayment[]> {
  const step = STEPS[at];
  if (!step) throw new Error(`no step of a failure is called ${at}`);
  const gateway = await startGatewayProcess(env, {
    settleTimeoutMs: NEVER_MS,
    settleWaitMs: NEVER_MS,
    aheadMs: chains.aheadMs(),
  });
  await waitUntilKnown(sql, deployment.members.filter(member => member !== 'embedded').length);
  await stub.hold();
  for (const payment of payments) void gateway.present(payment.header);
  await until(async () => {
    const { held } = await stub.counts();
    return payments.every(({ key }) => held.includes(key));
  });
  await chains.endSignatures();
  await gateway.tell({ aheadMs: chains.aheadMs() });
  const lock = new Client({ connectionString: env['DATABASE_URL'] });
  await lock.connect();
  try {
    await lock.query(`BEGIN; LOCK TABLE ${step.table} IN SHARE MODE`);
    await stub.release();
    await until(async () => (await countBlocked(lock, step.statement)) === due.length);
    const stored = await readPayments(sql);
    const { rows: marks } = await sql.query<{ name: string }>(
      'SELECT name FROM directory.facilitator WHERE distrusted_at IS NOT NULL',
    );
    const marked = at === 'before-fail' && payments.some(isClaimed) ? stub.url : '';
    const isMarkedRight = marks.map(({ name }) => name).join() === marked;
    await gateway.kill();
    // What the dead one has asked for may be done all the same. The mark is not, so that only the next process can set it.
    await (at === 'before-fail' ? endHalf : endAll)(lock, step.statement);
    return due.filter(payment => isMarkedRight && isBetween(payment, findStored(stored, payment)));
  } finally {
    await lock.end();
  }
}

/** Whether the claim, if there is one, is committed, and the end is not. */
function isBetween(payment: CellPayment, stored: StoredPayment | undefined): boolean {
  return stored?.state === 'settling' && stored.saidSettled === isClaimed(payment);
}
