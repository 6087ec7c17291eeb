import { setTimeout as sleep } from 'node:timers/promises';
import { Client, type Pool } from 'pg';
import { killInFailure } from './crash-failure.ts';
import { countBlocked, endHalf } from './crash-locks.ts';
import { type Cell, type Deployment, type Member, staysUnpaid } from './crash-matrix.ts';
import { type CrashPoint, whyUnreachable } from './crash-points.ts';
import { killInReversal, REVERSAL_TIMES, waitUntilBack } from './crash-reversal.ts';
import { startFacilitator, type TestFacilitator } from './facilitator.ts';
import { startGateway, type TestGateway } from './gateway.ts';
import { type GatewayProcess, startGatewayProcess } from './gateway-process.ts';
import { CAIP2, type OwnChains, startOwnChains, type TestPayment } from './own-chains.ts';
import {
  findStored,
  gapOf,
  type Outcome,
  readOutcomes,
  readPayments,
  reconcileProblems,
  type StoredPayment,
  waitUntilClosed,
  waitUntilKnown,
} from './settle-up.ts';
import { presentPayment } from './solana-gateway.ts';

/** Chains and remote facilitators for one run after another. */
export interface CrashLane {
  chains: OwnChains;
  stub: TestFacilitator;
  stop(): Promise<void>;
}

export type CellPayment = TestPayment & Cell;

/** What a run has shown. */
export interface CrashResult {
  /** Payments that were at the point when the first process was killed. */
  first: CellPayment[];
  /** Payments that were at the last point when the process was killed: the second one, where there is one. */
  reached: CellPayment[];
  /** Those that the next process did not find, because they were never stored. */
  unstored: CellPayment[];
  /** What the dead have left. */
  left: StoredPayment[];
  outcomes: Outcome<CellPayment>[];
  /** What does not add up. */
  problems: string[];
  /** Statuses of the answers to the same payments at the end. */
  answers: { payment: CellPayment; status: number }[];
  distrusted: string[];
}

const AMOUNT = 5_000_000n;
/** Deeper than the other payments of a run bury one. */
const CONFIRMING = JSON.stringify({ [CAIP2.evm]: { 0: 60 }, [CAIP2.svm]: { 0: 'final' } });
/** A slow facilitator takes longer. */
const SETTLE_TIMEOUT_MS = 2_500;
const SETTLE_WAIT_MS = 4_000;
const RECONCILE_EVERY_MS = 150;
/** Beyond this a point is not reached any more. */
const REACH_TIMEOUT_MS = 60_000;
const CLOSE_TIMEOUT_MS = 120_000;
const POLL_MS = 50;

export async function startCrashLane(): Promise<CrashLane> {
  const chains = await startOwnChains();
  const stub = await startFacilitator(chains);
  return {
    chains,
    stub,
    async stop() {
      await stub.stop();
      await chains.stop();
    },
  };
}

/**
 * Gives a gateway all payments of a deployment at once, kills it when every one of them is at the point or past it,
 * and lets another one finish them.
 */
export async function runCrash(
  lane: CrashLane,
  point: CrashPoint,
  deployment: Deployment,
): Promise<CrashResult> {
  const { chains, stub } = lane;
  const nameOf: Record<Member, string> = { stub: stub.url, embedded: 'embedded', twin: stub.twinUrl };
  const prepared = await chains.prepare({
    FACILITATORS: deployment.members.map(member => nameOf[member]).join(),
    ...(deployment.members.includes('embedded') ? {} : { EVM_PRIVATE_KEY: '', SVM_PRIVATE_KEY: '' }),
    ...(point.at === 'while-confirming' ? { CONFIRMATIONS: CONFIRMING } : {}),
  });
  const sql = new Client({ connectionString: prepared.database.databaseUrl });
  await sql.connect();
  const payments = await Promise.all(deployment.cells.map(cell => signCell(lane, prepared, cell)));
  const due = payments.filter(payment => whyUnreachable(point, payment, deployment) === undefined);
  const run: Run = { env: prepared.env, sql, payments, due, deployment };
  try {
    const kill = point.isReversal ? killInReversal : point.isFailure ? killInFailure : killFirst;
    const first = await kill(lane, point, run);
    const reached = point.again ? await killInReconciler(lane, point.again, point.comesBack, run) : first;
    const left = await readPayments(sql);
    await stub.open();
    const gateway = await startGateway({
      replicaOf: { env: prepared.env } as TestGateway,
      clock: chains.clock,
      seams: {
        settleTimeoutMs: SETTLE_TIMEOUT_MS,
        settleWaitMs: SETTLE_WAIT_MS,
        reconcileEveryMs: RECONCILE_EVERY_MS,
        ...(point.isReversal ? REVERSAL_TIMES : {}),
      },
    });
    try {
      if (point.isReversal) await waitUntilBack(chains, gateway.sql, payments);
      return { first, reached, left, ...(await finish(lane, gateway, payments)) };
    } finally {
      await gateway.stop();
    }
  } finally {
    await Promise.all([stub.release(), stub.open()]);
    await sql.end();
    await prepared.database.drop();
  }
}

async function signCell(
  { chains, stub }: CrashLane,
  prepared: Awaited<ReturnType<OwnChains['prepare']>>,
  cell: Cell,
): Promise<CellPayment> {
  const feePayer = cell.feePayer === 'stub' ? stub.feePayer : prepared.feePayer;
  const { network } = cell;
  const payTo = prepared.payTo[network];
  const payment = await chains.pay({ network, payTo, feePayer, amountBaseUnits: AMOUNT });
  await stub.plan(payment.key, cell.fault);
  return { ...payment, ...cell };
}

export interface Run {
  env: Record<string, string>;
  sql: Client;
  payments: readonly CellPayment[];
  /** Those that come to the last point. */
  due: readonly CellPayment[];
  deployment: Deployment;
}

async function killFirst(lane: CrashLane, point: CrashPoint, run: Run): Promise<CellPayment[]> {
  const { sql, payments } = run;
  const gateway = await startGatewayProcess(run.env, {
    crashAt: point.at,
    hold: true,
    settleTimeoutMs: SETTLE_TIMEOUT_MS,
    settleWaitMs: SETTLE_WAIT_MS,
    reconcileEveryMs: RECONCILE_EVERY_MS,
    aheadMs: lane.chains.aheadMs(),
  });
  await waitUntilKnown(sql, run.deployment.members.filter(member => member !== 'embedded').length);
  if (point.at === 'during-settle') await lane.stub.hold();
  if (point.at === 'after-claim') await sql.query(LOCK_PAYMENTS);
  const answered = new Set<CellPayment>();
  const there = new Set<CellPayment>();
  // With a second death every payment has to be at the first point, for that one to mean anything.
  const due = new Set(point.again ? payments : run.due);
  // On a busy machine some are told to come back, or to wait, before they get to the point. So they come back.
  const presentUntilThere = async (payment: CellPayment) => {
    while (!there.has(payment)) {
      const status = await gateway.present(payment.header);
      if (status === undefined) return;
      if (status === 200 || !due.has(payment)) {
        answered.add(payment);
        return;
      }
      await sleep(PRESENT_AGAIN_MS);
    }
  };
  for (const payment of payments) void presentUntilThere(payment);
  if (point.comesBack === 'first' && isAlone(run.deployment)) await letComeBack(lane, run);
  const reached = await untilAll(payments, async () => {
    const now = await whoIsThere(lane, point, { ...run, gateway });
    for (const payment of now) there.add(payment);
    return { there: now, over: payments.filter(payment => answered.has(payment) || now.includes(payment)) };
  });
  await gateway.kill();
  if (point.at === 'after-claim') await endHalf(sql, 'open_payment');
  if (point.at === 'during-settle') await lane.stub.release();
  return reached;
}

/** Which payments are at the point right now. */
async function whoIsThere(
  { stub }: CrashLane,
  { at }: CrashPoint,
  { sql, payments, gateway }: Run & { gateway: GatewayProcess },
): Promise<CellPayment[]> {
  if (at === 'after-claim') {
    // They share statements, so some wait for the lock in one, and others in the process for their statement.
    const { rows } = await sql.query<{ identity: string }>(
      `SELECT c.identity FROM directory.payment_claim c
       WHERE NOT EXISTS (SELECT FROM cell_0.payment p WHERE p.payment_id = c.payment_id)`,
    );
    const isLocked = (await countBlocked(sql, 'open_payment')) > 0;
    return isLocked ? payments.filter(({ key }) => rows.some(({ identity }) => identity.endsWith(key))) : [];
  }
  if (at === 'during-settle') {
    const { held } = await stub.counts();
    return payments.filter(({ key }) => held.includes(key));
  }
  if (at === 'while-pending' || at === 'while-confirming') {
    const stored = await readPayments(sql);
    return payments.filter(payment => {
      const found = findStored(stored, payment);
      return found?.state === 'pending' && (at === 'while-pending' || found.reason === 'confirming');
    });
  }
  return whoIsHeld(gateway, payments);
}

function whoIsHeld(gateway: GatewayProcess, payments: readonly CellPayment[]): CellPayment[] {
  // Inside a transaction a nonce has no prefix.
  const isIn = (text: string, { key }: CellPayment) => text.includes(key.replace(/^0x/, ''));
  return payments.filter(payment => gateway.reached.some(text => isIn(text, payment)));
}

/** Its only facilitator is one that goes down. */
const isAlone = ({ members, cells }: Deployment): boolean =>
  members.length === 1 && cells.every(({ fault }) => fault === 'down-after-verify');

/** When it has taken no connection for any payment, so that all of them are pending. */
async function letComeBack({ stub }: CrashLane, { sql, payments }: Run): Promise<void> {
  const isPending = async () => (await readPayments(sql)).filter(({ state }) => state === 'pending');
  const deadlineMs = performance.now() + REACH_TIMEOUT_MS;
  while ((await isPending()).length < payments.length && performance.now() < deadlineMs) await sleep(POLL_MS);
  await stub.open();
}

/** Waits until each payment is at the point, or has been answered and so will not come there any more. */
async function untilAll(
  payments: readonly CellPayment[],
  look: () => Promise<{ there: CellPayment[]; over: CellPayment[] }>,
): Promise<CellPayment[]> {
  const deadlineMs = performance.now() + REACH_TIMEOUT_MS;
  for (;;) {
    const { there, over } = await look();
    if (over.length === payments.length || performance.now() > deadlineMs) return there;
    await sleep(POLL_MS);
  }
}

/** Lets nobody store a payment. */
const LOCK_PAYMENTS = 'BEGIN; LOCK TABLE cell_0.payment IN SHARE MODE';

/** The second death, of the process that works on what the first one has left. @returns who was at the point */
async function killInReconciler(
  lane: CrashLane,
  crashAt: string,
  comesBack: CrashPoint['comesBack'],
  { env, due, deployment }: Run,
): Promise<CellPayment[]> {
  if (comesBack === 'again' && isAlone(deployment)) await lane.stub.open();
  const gateway = await startGatewayProcess(env, {
    crashAt,
    hold: true,
    settleTimeoutMs: SETTLE_TIMEOUT_MS,
    reconcileEveryMs: RECONCILE_EVERY_MS,
    aheadMs: lane.chains.aheadMs(),
  });
  const reached = await untilAll(due, () => {
    const there = whoIsHeld(gateway, due);
    return Promise.resolve({ there, over: there });
  });
  await gateway.kill();
  return reached;
}

/** Lets the chains decide about every payment, and compares them with the books. */
async function finish(
  lane: CrashLane,
  gateway: TestGateway,
  payments: readonly CellPayment[],
): Promise<Omit<CrashResult, 'first' | 'reached' | 'left'>> {
  const { chains } = lane;
  const { sql } = gateway;
  const present = async (payment: CellPayment) => ({
    payment,
    status: (await presentPayment(gateway, payment.header)).statusCode,
  });
  const unstored = await presentUnstored(chains, sql, payments, present);
  await chains.makeBlocks();
  const unpaid = payments.filter(staysUnpaid);
  const late = await waitUntilClosed(sql, {
    timeoutMs: CLOSE_TIMEOUT_MS,
    mayStay: ({ identity }) => unpaid.some(({ key }) => identity.endsWith(key)),
  });
  await chains.endSignatures();
  const open = await waitUntilClosed(sql, { timeoutMs: CLOSE_TIMEOUT_MS });
  const outcomes = await readOutcomes(chains, sql, payments);
  const gaps = outcomes.map(gapOf).filter(gap => gap !== undefined);
  const problems = [
    ...late.map(stored => `not decided in time: ${JSON.stringify(stored)}`),
    ...open.map(stored => `never decided: ${JSON.stringify(stored)}`),
    ...gaps,
    ...(await reconcileProblems(gateway)),
  ];
  const answers = await Promise.all(payments.map(present));
  const { rows } = await sql.query<{ name: string }>(
    'SELECT name FROM directory.facilitator WHERE distrusted_at IS NOT NULL',
  );
  return { unstored, outcomes, problems, answers, distrusted: rows.map(({ name }) => name) };
}

const MAX_PRESENTATIONS = 30;
const PRESENT_AGAIN_MS = 500;

/** As clients do: what was not accepted, because nobody could take it at that moment, comes again. */
async function presentUnstored(
  chains: OwnChains,
  sql: Pool,
  payments: readonly CellPayment[],
  present: (payment: CellPayment) => Promise<unknown>,
): Promise<CellPayment[]> {
  let unstored: CellPayment[] | undefined;
  for (let round = 0; round < MAX_PRESENTATIONS; round += 1) {
    const stored = await readPayments(sql);
    const missing = payments.filter(payment => !findStored(stored, payment));
    unstored ??= missing;
    if (missing.length === 0) return unstored;
    const moved = await Promise.all(missing.map(payment => chains.timesMoved(payment)));
    if (moved.some(times => times > 0)) throw new Error('money moved of a payment that is not stored');
    await Promise.all(missing.map(present));
    await sleep(PRESENT_AGAIN_MS);
  }
  throw new Error('a payment was not accepted');
}
