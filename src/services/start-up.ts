import { type ReadinessCheck, runChecks } from '../http/health.ts';
import { withDeadline } from '../lib/deadline.ts';
import type { Log } from '../ports/log.ts';

/** A little more than one question to a facilitator may take. */
const LEARN_TIMEOUT_MS = 12_000;

/**
 * Says at start what is wrong with the configuration as the outside world shows it. Nothing is refused here: a
 * node that is down for a minute must not keep the gateway down, and no payment is taken on a network before
 * its node has proved that it is the right one.
 * @param services.learnFacilitators asks each what it supports, without which nothing can be said about it
 */
export async function logStartUpChecks(
  services: { readiness: readonly ReadinessCheck[]; learnFacilitators: () => Promise<void> },
  log: Log,
): Promise<void> {
  const learned = withDeadline('facilitators', LEARN_TIMEOUT_MS, services.learnFacilitators());
  await learned.catch((error: unknown) =>
    log.warn({ err: error }, 'facilitators could not be asked at start'),
  );
  for (const { name, problems, notes } of await runChecks(services.readiness)) {
    for (const problem of problems) log.error({ check: name, problem }, 'start-up check failed');
    for (const note of notes) log.warn({ check: name, note }, 'start-up check: worth knowing');
  }
}
