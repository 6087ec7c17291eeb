import { setTimeout as pause } from 'node:timers/promises';

/** What a round answers that could not take on all there is. */
export const MORE_TO_DO = 'more to do';

/** The pause where there is more to do, so that others get their turn. */
const BUSY_PAUSE_MS = 100;

/** A background worker: one round after another, never two at a time. */
export interface Loop {
  /** Ends the pause at once, lets a running round finish and waits for it. */
  stop(): Promise<void>;
}

/**
 * Runs `round` now and then again `intervalMs` after each round has ended, until stopped. A round that
 * throws is reported and does not end the loop. One that answers {@link MORE_TO_DO} is followed by the next after a short
 * pause, so that a backlog is worked off.
 */
export function startLoop(options: {
  /** The pause, or what says how long it is each time. */
  intervalMs: number | (() => number);
  round: () => Promise<unknown>;
  onError: (error: unknown) => void;
}): Loop {
  const stopped = new AbortController();
  const { signal } = stopped;

  async function run(): Promise<void> {
    while (!signal.aborted) {
      const outcome = await options.round().catch(options.onError);
      const { intervalMs } = options;
      const pauseMs = typeof intervalMs === 'number' ? intervalMs : intervalMs();
      const isBusy = outcome === MORE_TO_DO;
      await pause(isBusy ? Math.min(pauseMs, BUSY_PAUSE_MS) : pauseMs, undefined, { signal }).catch(
        () => undefined,
      );
    }
  }

  const running = run();
  return {
    async stop() {
      stopped.abort();
      await running;
    },
  };
}
