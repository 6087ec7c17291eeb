import { afterAll, beforeAll, describe, it } from 'vitest';
import { type Cell, type Deployment, staysUnpaid } from '../support/crash-matrix.ts';
import { CRASH_RUNS, type CrashPoint, whyUnreachable } from '../support/crash-points.ts';
import { type CrashLane, type CrashResult, runCrash, startCrashLane } from '../support/crash-run.ts';

/** Each has two chains and a facilitator in processes of their own. */
const LANES = 4;

const lanes: CrashLane[] = [];
const idle: CrashLane[] = [];
const waiting: ((lane: CrashLane) => void)[] = [];

beforeAll(async () => {
  lanes.push(...(await Promise.all(Array.from({ length: LANES }, startCrashLane))));
  idle.push(...lanes);
});

afterAll(async () => {
  await Promise.all(lanes.map(lane => lane.stop()));
});

async function withLane<T>(work: (lane: CrashLane) => Promise<T>): Promise<T> {
  const lane = idle.pop() ?? (await new Promise<CrashLane>(resolve => waiting.push(resolve)));
  try {
    return await work(lane);
  } finally {
    const next = waiting.shift();
    if (next) next(lane);
    else idle.push(lane);
  }
}

describe('a gateway that is killed with SIGKILL', () => {
  it.concurrent.for(CRASH_RUNS)(
    '%s, with %s: every payer’s money is credited once or provably not taken',
    async ([, , point, deployment], { expect }) => {
      const result = await withLane(lane => runCrash(lane, point, deployment));
      expect(result.problems).toEqual([]);
      expect(faultsOf(result, point, deployment)).toEqual([]);

      const nameOf = ({ network, fault }: Cell) => `${network} ${fault}`;
      const isDue = (cell: Cell) => whyUnreachable(point, cell, deployment) === undefined;
      const payments = result.outcomes.map(({ payment }) => payment);
      const missed = payments.filter(payment => isDue(payment) && !result.reached.includes(payment));
      expect(missed.map(nameOf)).toEqual([]);
      if (point.again) expect(payments.filter(payment => !result.first.includes(payment))).toEqual([]);
      // In a list, one that is too busy to verify a payment is passed over, and then it takes another way.
      const isOneWay = deployment.members.length === 1;
      if (isOneWay) expect(result.reached.filter(cell => !isDue(cell)).map(nameOf)).toEqual([]);
      if (point.at === 'after-claim') expect(result.unstored.length).toBeGreaterThan(0);
      const left = new Set(result.left.map(({ state }) => state));
      if (point.at === 'while-reversing') expect(left).toEqual(new Set(['credited', 'reversed']));
      if (point.at === 'while-reversed') expect(left).toEqual(new Set(['reversed']));
    },
  );
});

/** What is not as it must be, although chain and books agree. */
function faultsOf(
  { outcomes, answers, distrusted }: CrashResult,
  point: CrashPoint,
  { members }: Deployment,
): string[] {
  const wrong: string[] = [];
  for (const { payment, stored } of outcomes) {
    const name = `${payment.network} ${payment.fault}`;
    // Who is first in a list and sends nothing may be followed by one that does.
    const mayEndEitherWay = staysUnpaid(payment) && members.length > 1;
    const end = staysUnpaid(payment) ? 'failed' : 'credited';
    if (!mayEndEitherWay && stored?.state !== end) wrong.push(`${name} is ${stored?.state}`);
    const status = answers.find(answer => answer.payment === payment)?.status;
    if (status !== (stored?.state === 'credited' ? 200 : 402)) wrong.push(`${name} is answered ${status}`);
  }
  const hasLied = outcomes.some(({ stored }) => stored?.state === 'failed' && stored.saidSettled);
  if (distrusted.length > 0 !== hasLied) wrong.push(`distrusted: ${distrusted.join()}`);
  return wrong.map(text => `${point.at}: ${text}`);
}
