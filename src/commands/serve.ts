import { buildApp } from '../app.ts';
import { describeConfig, loadConfig } from '../config/config.ts';
import { createLog } from '../http/log.ts';
import { systemClock } from '../lib/clock.ts';
import { createServices } from '../services/services.ts';
import { logStartUpChecks } from '../services/start-up.ts';
import { stopOnSignal } from './lifecycle.ts';
import { requireMigrated } from './migrate.ts';

/** The production server. It refuses to start on a bad configuration, and never migrates by itself. */
export async function serve(): Promise<void> {
  const config = loadConfig('serve', process.env);
  const log = createLog(config.logLevel);
  log.info({ config: describeConfig(config) }, 'effective configuration');
  await requireMigrated(config);
  const services = createServices(config, { log, clock: systemClock });
  const app = await buildApp({ config, services, log, clock: systemClock });
  await services.start();
  await app.listen({ host: config.host, port: config.port });
  void logStartUpChecks(services, log);
  await stopOnSignal(app, [services.stop], log);
}
