import { type ReadinessCheck, runChecks } from '../http/health.ts';
import type { Log } from '../ports/log.ts';

/**
 * Says at start what is wrong with the configuration as the outside world shows it. Nothing is refused here: a
 * node that is down for a minute must not keep the gateway down, and no payment is taken on a network before
 * its node has proved that it is the right one.
 */
export async function logStartUpChecks(checks: readonly ReadinessCheck[], log: Log): Promise<void> {
  for (const { name, problems, notes } of await runChecks(checks)) {
    for (const problem of problems) log.error({ check: name, problem }, 'start-up check failed');
    for (const note of notes) log.warn({ check: name, note }, 'start-up check: worth knowing');
  }
}
