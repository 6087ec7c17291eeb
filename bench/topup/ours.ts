import type { AddressInfo } from 'node:net';
import { buildApp } from '../../src/app.ts';
import { loadConfig } from '../../src/config/config.ts';
import { createLog } from '../../src/http/log.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createServices } from '../../src/services/services.ts';
import { announce } from '../offer/serve.ts';

/** The whole gateway as production builds it; its settings come from the run. */
const config = loadConfig('serve', process.env);
const log = createLog(config.logLevel);
const services = createServices(config, { log, clock: systemClock });
const app = await buildApp({ config, services, log, clock: systemClock });
await services.start();
await app.listen({ host: config.host, port: config.port });
announce((app.server.address() as AddressInfo).port);
