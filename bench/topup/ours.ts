import type { AddressInfo } from 'node:net';
import { announce } from '../offer/serve.ts';
import { buildApp, createLog, createServices, loadConfig, systemClock } from '../shipped.ts';

/** The whole gateway as production builds it; its settings come from the run. */
const config = loadConfig('serve', process.env);
const log = createLog(config.logLevel);
const services = createServices(config, { log, clock: systemClock });
const app = await buildApp({ config, services, log, clock: systemClock });
await services.start();
await app.listen({ host: config.host, port: config.port });
announce((app.server.address() as AddressInfo).port);
