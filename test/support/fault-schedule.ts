import { FACILITATOR_FAULTS, type FacilitatorFault } from './facilitator-faults.ts';
import { NODE_FAULTS, type NodeFault } from './node-faults.ts';
import type { PaymentNetwork } from './own-chains.ts';

/** Where the first replica kills itself; see `crash-gateway.ts`. `afterwards`: when everything was answered. */
const DEATHS = [
  'before-sign',
  'before-send',
  'after-broadcast',
  'during-settle',
  'after-send',
  'after-move',
  'before-credit',
  'after-credit',
  'while-pending',
  'afterwards',
] as const;

/** One payment of a schedule. */
export interface FaultStep {
  network: PaymentNetwork;
  facilitator: FacilitatorFault;
  /** Whose account pays the fee on Solana: the remote facilitator's, or that of the one inside the gateway. */
  feePayer: 'stub' | 'own';
  /** So much money that it is credited some blocks later. */
  isLarge: boolean;
  node: NodeFault;
  /** Which of the two replicas it is shown to, one after another; twice the same is a repetition. */
  shownTo: readonly (0 | 1)[];
  /** Shown to all of them at the same time. */
  atOnce: boolean;
  /** SIGKILL for the first replica, or a regular restart of the second one. */
  death: (typeof DEATHS)[number] | 'restart' | undefined;
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
  const makeStep = (): FaultStep => {
    const step: FaultStep = {
      network: pick(['evm', 'svm'] as const),
      facilitator: pick(FACILITATOR_FAULTS),
      feePayer: random() < 0.85 ? 'stub' : 'own',
      isLarge: random() < 0.1,
      node: random() < 0.6 ? 'none' : pick(NODE_FAULTS),
      shownTo: Array.from({ length: 1 + Math.floor(random() * 3) }, () => pick([0, 1] as const)),
      atOnce: random() < 0.5,
      death: undefined,
    };
    const fate = random();
    if (fate < 0.12) return { ...step, shownTo: [0, ...step.shownTo.slice(1)], death: pick(DEATHS) };
    return fate < 0.18 ? { ...step, death: 'restart' } : step;
  };
  return { seed, steps: Array.from({ length: 1 + Math.floor(random() * MAX_STEPS) }, makeStep) };
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
