import type { FastifyInstance } from 'fastify';
import { Pool } from 'pg';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import { inject } from 'vitest';
import { buildApp } from '../../src/app.ts';
import { type Config, loadConfig } from '../../src/config/config.ts';
import { migrate } from '../../src/db/migrate.ts';
import { cellName } from '../../src/db/queryable.ts';
import { createLog } from '../../src/http/log.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import type { Seams } from '../../src/services/seams.ts';
import { createServices, type Services } from '../../src/services/services.ts';
import { fundGas } from './chain.ts';
import { createTestDatabase } from './database.ts';

/** A whole gateway over a database of its own and the shared local chain, with its own keys. */
export interface TestGateway {
  app: FastifyInstance;
  services: Services;
  config: Config;
  env: Record<string, string>;
  payTo: `0x${string}`;
  /** For looking at the tables; the gateway has its own pool. */
  sql: Pool;
  stop(): Promise<void>;
}

export interface TestGatewayOptions {
  seams?: Seams;
  clock?: Clock;
  settings?: Record<string, string>;
  /** Use this gateway's database, keys and receiver: a second replica. */
  replicaOf?: TestGateway;
}

/** Settings of a fresh gateway: its own database, receiver and gas key. */
export async function prepareGateway(settings: Record<string, string> = {}) {
  const database = await createTestDatabase();
  // The template has one cell.
  const cells = settings['CELLS']?.split(',').map(cellName);
  if (cells) await migrate({ databaseUrl: database.databaseUrl, cells });
  const gasKey = generatePrivateKey();
  await fundGas(privateKeyToAddress(gasKey));
  const env: Record<string, string> = {
    DATABASE_URL: database.databaseUrl,
    PUBLIC_ORIGIN: 'http://127.0.0.1:4020',
    EVM_PAY_TO: privateKeyToAddress(generatePrivateKey()),
    EVM_PRIVATE_KEY: gasKey,
    BASE_RPC_URL: inject('rpcUrl'),
    ADMIN_API_KEY: 'admin-api-key-of-the-tests-0123456789',
    MPP_SECRET_KEY: 'mpp-secret-key-of-the-tests-0123456789',
    LOG_LEVEL: 'silent',
    RATE_LIMITS: 'off',
    ...settings,
  };
  return { database, env };
}

export async function startGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const { replicaOf } = options;
  const prepared = replicaOf ? undefined : await prepareGateway(options.settings);
  const env = prepared?.env ?? { ...replicaOf?.env, ...options.settings };
  const clock = options.clock ?? systemClock;
  const config = loadConfig('serve', env);
  const log = createLog(config.logLevel);
  const services = createServices(config, { log, clock, ...(options.seams ? { seams: options.seams } : {}) });
  const app = await buildApp({ config, services, log, clock });
  await services.start();
  await app.ready();
  const sql = new Pool({ connectionString: config.databaseUrl, max: 2 });
  // Dropping the database ends connections that are still open; nobody is left to care.
  sql.on('error', () => undefined);
  return {
    app,
    services,
    config,
    env,
    payTo: config.evmPayTo as `0x${string}`,
    sql,
    async stop() {
      await app.close();
      await services.stop();
      await sql.end();
      await prepared?.database.drop();
    },
  };
}
