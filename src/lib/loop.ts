import { setTimeout as pause } from 'node:timers/promises';

/** A background worker: one round after another, never two at a time. */
export interface Loop {
  /** Ends the pause at once, lets a running round finish and waits for it. */
  stop(): Promise<void>;
}

/**
 * Runs `round` now and then again `intervalMs` after each round has ended, until stopped. A round that
 * throws is reported and does not end the loop.
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
      await options.round().catch(options.onError);
      const { intervalMs } = options;
      const pauseMs = typeof intervalMs === 'number' ? intervalMs : intervalMs();
      await pause(pauseMs, undefined, { signal }).catch(() => undefined);
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
