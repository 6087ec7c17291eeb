import type { AddressInfo } from 'node:net';
import { buildApp, createLog, createServices, loadConfig, systemClock } from '../shipped.ts';
import { announce } from './serve.ts';

/** The whole gateway as production builds it. An offer needs neither database nor chain, so none is there. */
const config = loadConfig('serve', {
  HOST: '127.0.0.1',
  PORT: '0',
  DATABASE_URL: 'postgres://unused.invalid/unused',
  PUBLIC_ORIGIN: 'http://127.0.0.1:4020',
  EVM_PAY_TO: `0x${'1'.repeat(40)}`,
  EVM_PRIVATE_KEY: `0x${'1'.repeat(64)}`,
  BASE_RPC_URL: 'http://unused.invalid',
  LOG_LEVEL: 'silent',
  RATE_LIMITS: 'off',
});
const log = createLog(config.logLevel);
const services = createServices(config, { log, clock: systemClock });
const app = await buildApp({ config, services, log, clock: systemClock });
await app.listen({ host: config.host, port: config.port });
announce((app.server.address() as AddressInfo).port);
