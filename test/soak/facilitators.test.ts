import { describe, expect, it } from 'vitest';
import { FACILITATOR_FAULTS } from '../support/facilitator-faults.ts';
import { makeSchedule } from '../support/fault-schedule.ts';
import { type FaultFindings, startFaultWorld } from '../support/fault-world.ts';

/** `FAULT_SEED=<seed>` plays the schedules from there on again, `FAULT_COUNT=1` only that one. */
const FIRST_SEED = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);
const COUNT = Number(process.env['FAULT_COUNT'] ?? 500);

/** Each has chains, a facilitator and two replicas of its own. */
const WORLDS = 4;
/** So many schedules are played before the chains decide about all of their payments. */
const BATCH = 8;

/** Fewer schedules than this prove nothing about how many of their payments ended in which way. */
const ENOUGH = 100;

const batches = Array.from({ length: Math.ceil(COUNT / BATCH) }, (_, batch) =>
  Array.from({ length: Math.min(BATCH, COUNT - batch * BATCH) }, (__, index) =>
    makeSchedule(FIRST_SEED + batch * BATCH + index),
  ),
);

async function playAll(): Promise<FaultFindings> {
  const found: FaultFindings = { problems: [], payments: [] };
  const queue = [...batches];
  async function work(): Promise<void> {
    const world = await startFaultWorld();
    for (let batch = queue.shift(); batch && found.problems.length === 0; batch = queue.shift()) {
      const { problems, payments } = await world.play(batch);
      found.problems.push(...problems);
      found.payments.push(...payments);
    }
    await world.stop();
  }
  await Promise.all(Array.from({ length: Math.min(WORLDS, batches.length) }, work));
  return found;
}

describe('random faults of facilitators, nodes and replicas', () => {
  it(`leave no gap between chains and books in ${COUNT} schedules from seed ${FIRST_SEED}`, async () => {
    console.log(`fault schedules start at seed ${FIRST_SEED}`);
    const { problems, payments } = await playAll();
    expect(problems).toEqual([]);
    const steps = batches.flat().flatMap(schedule => schedule.steps);
    expect(payments).toHaveLength(steps.length);
    if (COUNT < ENOUGH) return;

    // A gateway that takes nothing has no gap either.
    const part = (count: number) => count / payments.length;
    const inState = (state: string | undefined) => payments.filter(payment => payment.state === state);
    const credited = inState('credited');
    expect(part(credited.length)).toBeGreaterThan(0.6);
    expect(part(inState('failed').length)).toBeGreaterThan(0.05);
    expect(part(inState(undefined).length)).toBeLessThan(0.1);
    for (const network of ['evm', 'svm'] as const)
      expect(part(credited.filter(payment => payment.network === network).length)).toBeGreaterThan(0.2);
    for (const fault of FACILITATOR_FAULTS) {
      const planned = payments.filter(payment => payment.fault === fault);
      const shown = planned.filter(({ hasShown }) => hasShown);
      expect([fault, shown.length / planned.length > 0.6]).toEqual([fault, true]);
    }
    const deaths = steps.filter(({ death }) => death !== undefined);
    expect(part(deaths.length)).toBeGreaterThan(0.1);
  });
});
