import { FACILITATOR_FAULTS, type FacilitatorFault } from './facilitator-faults.ts';

/** What happens to the gateway's own node while a payment is presented. */
export const NODE_FAULTS = ['none', 'receipts-down', 'logs-down', 'send-reply-lost'] as const;

export type NodeFault = (typeof NODE_FAULTS)[number];

/** One payment of a schedule. */
export interface FaultStep {
  facilitator: FacilitatorFault;
  node: NodeFault;
  /** Which of the two replicas it is shown to, one after another; twice the same is a repetition. */
  shownTo: readonly (0 | 1)[];
  /** Shown to all of them at the same time. */
  atOnce: boolean;
}

/** Payments with faults, made from a seed: the same seed always makes the same schedule. */
export interface FaultSchedule {
  seed: number;
  steps: readonly FaultStep[];
}

const MAX_STEPS = 3;

export function makeSchedule(seed: number): FaultSchedule {
  const random = createRandom(seed);
  const pick = <T>(list: readonly T[]): T => {
    const item = list[Math.floor(random() * list.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  };
  const steps = Array.from({ length: 1 + Math.floor(random() * MAX_STEPS) }, (): FaultStep => {
    const facilitator = pick(FACILITATOR_FAULTS);
    const node = random() < 0.6 ? 'none' : pick(NODE_FAULTS);
    const shownTo = Array.from({ length: 1 + Math.floor(random() * 3) }, () => pick([0, 1] as const));
    return { facilitator, node, shownTo, atOnce: random() < 0.5 };
  });
  return { seed, steps };
}

/** Mulberry32: small, and good enough to choose faults. @returns numbers from 0 to below 1 */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
