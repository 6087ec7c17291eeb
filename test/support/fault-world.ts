import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { startFacilitator } from './facilitator.ts';
import { type FacilitatorFault, NEVER_SENT, type StubCounts } from './facilitator-faults.ts';
import type { FaultSchedule, FaultStep } from './fault-schedule.ts';
import { startGateway, type TestGateway } from './gateway.ts';
import { type GatewayProcess, startGatewayProcess } from './gateway-process.ts';
import { faultyNodes, type NodeFault } from './node-faults.ts';
import { type PaymentNetwork, startOwnChains, type TestPayment } from './own-chains.ts';
import {
  describe,
  gapOf,
  type Outcome,
  readOutcomes,
  reconcileProblems,
  waitUntilClosed,
  waitUntilKnown,
} from './settle-up.ts';
import { presentPayment } from './solana-gateway.ts';

/**
 * Base and Solana, a remote facilitator with faults before the embedded one and an honest one behind it, faulty nodes,
 * and two replicas on one database. The first replica is a process of its own, which can be killed.
 */
export interface FaultWorld {
  /** Plays schedules one after another, and then lets the chains decide about every payment. */
  play(schedules: readonly FaultSchedule[]): Promise<FaultFindings>;
  stop(): Promise<void>;
}

type PlayedPayment = TestPayment & { seed: number; step: FaultStep };

/** What came of some schedules. */
export interface FaultFindings {
  /** What does not add up, each with the seed that plays it again: nothing, one hopes. */
  problems: string[];
  payments: PlayedFate[];
}

export interface PlayedFate {
  network: PaymentNetwork;
  /** What the remote facilitator was to do about it. */
  fault: FacilitatorFault;
  /** Undefined when no replica took it. */
  state: string | undefined;
  /** Whether its fault has shown: the remote facilitator was asked to settle it, or went down over it. */
  hasShown: boolean;
}

const AMOUNT = 5_000_000n;
/** Deeper than one block on Base, and final on Solana. */
const LARGE_AMOUNT = 2_000_000_000n;

/** How long a facilitator that stopped listening stays away. */
const AWAY_MS = 300;

/** A slow facilitator takes longer. */
const TIMES = { settleTimeoutMs: 1_000, settleWaitMs: 800, reconcileEveryMs: 200 };
/** What comes late comes within this time. */
const LATE_MS = 5_000;
const CLOSE_TIMEOUT_MS = 60_000;
const MARK_ATTEMPTS = 20;
const MARK_PAUSE_MS = 250;

export async function startFaultWorld(): Promise<FaultWorld> {
  const chains = await startOwnChains();
  const facilitator = await startFacilitator(chains);
  const prepared = await chains.prepare({
    FACILITATORS: `${facilitator.url},embedded,${facilitator.twinUrl}`,
  });
  const { env, database } = prepared;
  let nodeFault: NodeFault = 'none';

  const startFirst = () => startGatewayProcess(env, { ...TIMES, aheadMs: chains.aheadMs() });
  const startSecond = () =>
    startGateway({
      replicaOf: { env } as TestGateway,
      clock: chains.clock,
      seams: { ...TIMES, ...faultyNodes(() => nodeFault) },
    });
  let [first, second]: [GatewayProcess, TestGateway] = await Promise.all([startFirst(), startSecond()]);
  await waitUntilKnown(second.sql, 2);

  async function restartSecond(): Promise<void> {
    await second.stop();
    second = await startSecond();
  }

  /** @throws when a replica fails, or gives no answer although it was not killed */
  async function show(replica: 0 | 1, { header }: TestPayment, mayDie: boolean): Promise<void> {
    const status =
      replica === 0 ? await first.present(header) : (await presentPayment(second, header)).statusCode;
    if (status === undefined ? !mayDie : status === 500) throw new Error(`replica ${replica}: ${status}`);
  }

  async function playStep(step: FaultStep, payment: TestPayment): Promise<void> {
    const { death, shownTo } = step;
    if (!first.isAlive()) first = await startFirst();
    const isKill = death !== undefined && death !== 'restart';
    await facilitator.plan(payment.key, step.facilitator);
    nodeFault = step.node;
    await first.tell({ nodeFault, crashAt: isKill ? death : '' });
    const showTo = (replica: 0 | 1) => show(replica, payment, isKill);
    if (step.atOnce) await Promise.all(shownTo.map(showTo));
    else for (const replica of shownTo) await showTo(replica);
    nodeFault = 'none';
    // By now it is dead, unless its payment never came to the point.
    if (isKill) await first.kill();
    else await first.tell({ nodeFault, crashAt: '' });
    if (death === 'restart') await restartSecond();
    if (step.facilitator === 'down-after-verify') await sleep(AWAY_MS);
    await facilitator.open();
  }

  /** A replica whose circuit breaker is open would keep the next schedule away from the facilitator. */
  async function closeBreakers(): Promise<void> {
    const open = `${facilitator.url}: it can not settle at present`;
    if (first.isAlive() && (await first.readiness()).includes(open)) await first.kill();
    if ((await second.app.inject('/readyz')).body.includes(open)) await restartSecond();
  }

  async function playSchedule({ seed, steps }: FaultSchedule): Promise<PlayedPayment[]> {
    const played: PlayedPayment[] = [];
    for (const step of steps) {
      const { network } = step;
      const payment = await chains.pay({
        network,
        payTo: prepared.payTo[network],
        feePayer: step.feePayer === 'stub' ? facilitator.feePayer : prepared.feePayer,
        amountBaseUnits: step.isLarge ? LARGE_AMOUNT : AMOUNT,
      });
      played.push({ ...payment, seed, step });
      await playStep(step, payment);
    }
    await closeBreakers();
    return played;
  }

  /** The first replica is killed while it works on what is left, so that the second one finishes it. */
  async function settleUp(payments: readonly PlayedPayment[]): Promise<string[]> {
    await chains.makeBlocks();
    const neverSent = payments.filter(({ step }) => NEVER_SENT.includes(step.facilitator));
    await waitUntilClosed(second.sql, {
      timeoutMs: LATE_MS,
      mayStay: ({ identity }) => neverSent.some(({ key }) => identity.endsWith(key)),
    });
    await chains.endSignatures();
    await first.kill();
    const open = await waitUntilClosed(second.sql, { timeoutMs: CLOSE_TIMEOUT_MS });
    const outcomes = await readOutcomes(chains, second.sql, payments);
    const problems = [
      ...open.map(stored => `never decided: ${describe(stored)}`),
      ...outcomes.map(gapOf).filter(gap => gap !== undefined),
      ...(await reconcileProblems(second)),
      ...(await finallyMisjudged(payments)),
    ];
    return problems.map(problem => withSeed(problem, outcomes));
  }

  /** A payment may be closed by one replica while the other is about to mark its facilitator: that is waited for. */
  async function finallyMisjudged(payments: readonly PlayedPayment[]): Promise<string[]> {
    for (let attempt = 1; ; attempt += 1) {
      const problems = await misjudged(await readOutcomes(chains, second.sql, payments));
      if (problems.length === 0 || attempt === MARK_ATTEMPTS) return problems;
      await sleep(MARK_PAUSE_MS);
    }
  }

  /** Who claimed a settlement that never came is out of the list, and nobody else is. */
  async function misjudged(outcomes: readonly Outcome<PlayedPayment>[]): Promise<string[]> {
    const { rows } = await second.sql.query<{ name: string; paymentId: string; reason: string }>(
      `SELECT name, distrust_payment_id AS "paymentId", distrust_reason AS reason
       FROM directory.facilitator WHERE distrusted_at IS NOT NULL`,
    );
    const liedAbout = outcomes.filter(({ stored }) => stored?.state === 'failed' && stored.saidSettled);
    if (liedAbout.length > 0 && !rows.some(({ name }) => name === facilitator.url))
      return liedAbout.map(({ stored }) => `trusted in spite of ${stored?.paymentId}`);
    return rows.filter(mark => !isDeserved(mark, outcomes)).map(mark => `distrusted: ${describe(mark)}`);
  }

  /** Deserved for a payment that never came, and for one that was in doubt and came by another transaction. */
  function isDeserved(
    { name, paymentId, reason }: { name: string; paymentId: string; reason: string },
    outcomes: readonly Outcome<PlayedPayment>[],
  ): boolean {
    const about = outcomes.find(({ stored }) => stored?.paymentId === paymentId);
    if (name !== facilitator.url || !about?.stored) return false;
    return reason === 'named_another_transaction'
      ? about.payment.step.facilitator === 'names-another-transaction'
      : about.stored.state === 'failed' && about.stored.saidSettled;
  }

  /**
   * The operator puts the facilitator back while no replica runs: none remembers anything of it, or is about to mark it once
   * more for a payment that the other one has closed.
   */
  async function startAnew(): Promise<void> {
    await second.stop();
    const client = new Client({ connectionString: database.databaseUrl });
    await client.connect();
    await client.query(
      `UPDATE directory.facilitator SET distrusted_at = NULL, distrust_payment_id = NULL, distrust_reason = NULL
       WHERE distrusted_at IS NOT NULL`,
    );
    await client.end();
    second = await startSecond();
  }

  return {
    async play(schedules) {
      const payments: PlayedPayment[] = [];
      for (const schedule of schedules) {
        try {
          payments.push(...(await playSchedule(schedule)));
        } catch (error) {
          throw new Error(`could not be played${replay(schedule.seed)}`, { cause: error });
        }
      }
      const problems = await settleUp(payments);
      const counts = await facilitator.counts();
      const outcomes = await readOutcomes(chains, second.sql, payments);
      await startAnew();
      return { problems, payments: outcomes.map(outcome => toFate(outcome, counts)) };
    },
    async stop() {
      await Promise.all([first.stop(), second.stop()]);
      await database.drop();
      await facilitator.stop();
      await chains.stop();
    },
  };
}

function toFate(
  { payment, stored }: Outcome<PlayedPayment>,
  { settles, lastVerified }: StubCounts,
): PlayedFate {
  return {
    network: payment.network,
    fault: payment.step.facilitator,
    state: stored?.state,
    hasShown: (settles[payment.key] ?? 0) > 0 || lastVerified.includes(payment.key),
  };
}

/** A problem of one payment names the schedule that it belongs to. */
function withSeed(problem: string, outcomes: readonly Outcome<PlayedPayment>[]): string {
  const [found] = outcomes.filter(({ payment, stored }) =>
    [payment.key, stored?.paymentId].some(name => name !== undefined && problem.includes(name)),
  );
  return found
    ? `${problem} ${describe(found.payment.step)}${replay(found.payment.seed)}`
    : `${problem}; seeds ${[...new Set(outcomes.map(({ payment }) => payment.seed))].join()}`;
}

const replay = (seed: number): string => `; to play it again: FAULT_SEED=${seed} FAULT_COUNT=1`;
