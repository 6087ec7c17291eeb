import type { FastifyInstance } from 'fastify';
import { stringify } from 'yaml';
import { buildApp } from '../app.ts';
import { loadConfig } from '../config/config.ts';
import { createLog } from '../http/log.ts';
import { systemClock } from '../lib/clock.ts';
import { createServices } from '../services/services.ts';

/** Builds the production app with every route and without connecting to anything. Close it after use. */
export async function buildUnconnectedApp(): Promise<FastifyInstance> {
  const config = loadConfig('serve', {
    DATABASE_URL: 'postgres://unused.invalid/unused',
    PUBLIC_ORIGIN: 'https://pay.example.com',
    EVM_PAY_TO: `0x${'1'.repeat(40)}`,
    EVM_PRIVATE_KEY: `0x${'1'.repeat(64)}`,
    NETWORKS: 'eip155:8453,eip155:42431',
    BASE_RPC_URL: 'http://unused.invalid',
    TEMPO_RPC_URL: 'http://unused.invalid',
    TEMPO_PAY_TO: `0x${'1'.repeat(40)}`,
    ADMIN_API_KEY: 'unused'.repeat(8),
    MPP_SECRET_KEY: 'unused '.repeat(8),
    FACILITATOR_API_KEYS: JSON.stringify({ unused: 'unused'.repeat(8) }),
    LOG_LEVEL: 'silent',
  });
  const log = createLog('silent');
  const services = createServices(config, { log, clock: systemClock });
  const app = await buildApp({ config, services, log, clock: systemClock });
  app.addHook('onClose', services.stop);
  await app.ready();
  return app;
}

/** Writes the OpenAPI document of all routes to standard output, as YAML. */
export async function openapi(): Promise<void> {
  const app = await buildUnconnectedApp();
  process.stdout.write(stringify(app.swagger(), { aliasDuplicateObjects: false, lineWidth: 110 }));
  await app.close();
}
