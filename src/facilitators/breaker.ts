import { BrokenCircuitError, ConsecutiveBreaker, circuitBreaker, handleAll } from 'cockatiel';
import type { Clock } from '../lib/clock.ts';
import { FacilitatorCallError } from './facilitator-http.ts';

/** Keeps calls away from something that has just failed several times in a row. */
export interface Breaker {
  /**
   * Runs the call unless the circuit is open.
   * @throws FacilitatorCallError with `nothingSent` while it is open; else whatever `work` throws
   */
  run<T>(work: () => Promise<T>): Promise<T>;
  /** True while a call would be refused without being tried. */
  isOpen(): boolean;
}

const FAILURES_TO_OPEN = 5;

/** After this time one call is let through; the circuit closes when it succeeds. */
const OPEN_MS = 10_000;

export function createBreaker(clock: Clock): Breaker {
  const policy = circuitBreaker(handleAll, {
    halfOpenAfter: OPEN_MS,
    breaker: new ConsecutiveBreaker(FAILURES_TO_OPEN),
  });
  // The policy itself stays "open" until it is tried again, and nobody would try while it says so.
  let openUntilMs = Number.NEGATIVE_INFINITY;
  policy.onBreak(() => {
    openUntilMs = clock.nowMs() + OPEN_MS;
  });
  policy.onReset(() => {
    openUntilMs = Number.NEGATIVE_INFINITY;
  });

  return {
    async run(work) {
      try {
        return await policy.execute(work);
      } catch (error) {
        if (!(error instanceof BrokenCircuitError)) throw error;
        throw new FacilitatorCallError('not called, because its last calls failed', true);
      }
    },
    isOpen: () => clock.nowMs() < openUntilMs,
  };
}
