import { loadConfig } from '../config/config.ts';
import { runChecks } from '../http/health.ts';
import { createLog } from '../http/log.ts';
import { systemClock } from '../lib/clock.ts';
import { createServices } from '../services/services.ts';
import { EXIT, print, table } from './output.ts';

/**
 * `topup-gateway doctor`: checks database, nodes, token, gas and facilitators against the configuration and
 * changes nothing but what is remembered of the facilitators; exit 1 names each setting to change.
 */
export async function doctor(args: string[]): Promise<void> {
  const config = loadConfig('serve', process.env);
  const services = createServices(config, { log: createLog('silent'), clock: systemClock });
  try {
    await services.learnFacilitators().catch(() => undefined);
    const reports = await runChecks(services.readiness);
    const rows = reports.flatMap(({ name, problems, notes }) => [
      ...(problems.length === 0 ? [[name, 'good', '']] : problems.map(problem => [name, 'PROBLEM', problem])),
      ...notes.map(note => [name, 'note', note]),
    ]);
    print(args, { checks: reports }, table(['check', 'result', 'detail'], rows));
    process.exitCode = reports.some(({ problems }) => problems.length > 0) ? EXIT.problem : EXIT.good;
  } finally {
    await services.stop();
  }
}
