import type { FastifyInstance } from 'fastify';
import { withDeadline } from '../lib/deadline.ts';
import type { Log } from '../ports/log.ts';

/** A stop that takes longer than this is given up: whatever is open is finished at the next start. */
const STOP_TIMEOUT_MS = 45_000;

/**
 * Stops in order on SIGINT, SIGTERM or SIGHUP: first no new requests, then `parts` from first to last. A second
 * signal ends the process at once.
 * @returns resolves when everything has stopped
 */
export function stopOnSignal(app: FastifyInstance, parts: (() => Promise<void>)[], log: Log): Promise<void> {
  return new Promise(resolve => {
    let stopping = false;
    const onSignal = (signal: string) => {
      if (stopping) process.exit(1);
      stopping = true;
      log.info({ signal }, 'stopping: waiting for settlements under way');
      void withDeadline('stop', STOP_TIMEOUT_MS, stopAll())
        .catch((error: unknown) => {
          process.exitCode = 1;
          log.error({ err: error }, 'stop was not clean');
        })
        .finally(() => {
          resolve();
          process.exit();
        });
    };
    process.on('SIGINT', () => onSignal('SIGINT'));
    process.on('SIGTERM', () => onSignal('SIGTERM'));
    process.on('SIGHUP', () => onSignal('SIGHUP'));
  });

  async function stopAll(): Promise<void> {
    await app.close();
    for (const stop of parts) await stop();
  }
}
