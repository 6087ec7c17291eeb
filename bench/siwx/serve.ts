import type { AddressInfo } from 'node:net';
import { announce } from '../offer/serve.ts';
import {
  buildApp,
  createLog,
  createPool,
  createServices,
  createSignIn,
  loadConfig,
  systemClock,
} from '../shipped.ts';
import { ORIGIN, viemSignatures } from './proofs.ts';

/** The gateway as production builds it; with the argument `viem`, sign-in uses viem's verification. */
const clock = systemClock;
const config = loadConfig('serve', {
  HOST: '127.0.0.1',
  PORT: '0',
  DATABASE_URL: process.env['DATABASE_URL'],
  PUBLIC_ORIGIN: ORIGIN,
  EVM_PAY_TO: `0x${'1'.repeat(40)}`,
  EVM_PRIVATE_KEY: `0x${'1'.repeat(64)}`,
  BASE_RPC_URL: 'http://127.0.0.1:1',
  LOG_LEVEL: 'silent',
  RATE_LIMITS: 'off',
});
const log = createLog(config.logLevel);
const services = createServices(config, { log, clock });
const { databaseUrl } = config;
const baseline = createSignIn({
  db: createPool({ databaseUrl, maxConnections: 20, onError: () => undefined }),
  clock,
  signatures: viemSignatures,
  domains: config.siwxDomains,
});
const signIn = process.argv[2] === 'viem' ? baseline : services.signIn;
const app = await buildApp({ config, services: { ...services, signIn }, log, clock });
await app.listen({ host: config.host, port: config.port });
announce((app.server.address() as AddressInfo).port);
