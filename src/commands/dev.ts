import { buildApp } from '../app.ts';
import { loadConfig } from '../config/config.ts';
import { ConfigError } from '../config/read.ts';
import { RPC_SETTINGS } from '../config/settings.ts';
import { emptyDatabase, migrate, readMigrationState } from '../db/migrate.ts';
import type { MigrationState } from '../db/migration-files.ts';
import { createLog } from '../http/log.ts';
import { systemClock } from '../lib/clock.ts';
import { startLocalPostgres } from '../local/postgres.ts';
import type { SandboxOptions } from '../sandbox/routes.ts';
import { createServices } from '../services/services.ts';
import { sandboxBanner } from './banner.ts';
import { stopOnSignal } from './lifecycle.ts';
import { describeForgotten } from './migrate.ts';
import { type SandboxChain, sandboxNetworks, startSandboxChains } from './sandbox-chains.ts';
import { loadSandboxKeys } from './sandbox-keys.ts';

/** A client under test may be told any name of this machine; some published clients sign Venice's own. */
const SIGN_IN_DOMAINS = '127.0.0.1,localhost,api.venice.ai,venice.ai';

/**
 * The sandbox: a real PostgreSQL, local chains and the gateway in front of them, with nothing to configure.
 * Database and chains are one snapshot: when a chain cannot be restored, or other files have migrated the
 * database, everything starts empty, because credit without its payments would be a lie, and payments without
 * their credit a second credit.
 */
export async function dev(): Promise<void> {
  const settings = loadConfig('sandbox', withSandboxDefaults(process.env));
  const log = createLog(settings.logLevel);
  const { dataDir, cells } = settings;
  const keys = loadSandboxKeys(dataDir);
  const report = (line: string) => log.debug({}, line);

  const evm = { payTo: settings.evmPayTo || keys.evmPayTo, sender: keys.evmSender };
  const svm = { payTo: settings.svmPayTo || keys.svmPayTo, feePayer: keys.svmFeePayer };
  const [postgres, chains] = await Promise.all([
    startLocalPostgres({ dataDir, log: report }),
    startSandboxChains({ dataDir, networks: settings.networks, evm, svm, log: report }),
  ]);
  const { databaseUrl } = postgres;
  const database = { databaseUrl, cells, log: report };
  const chainLost = !postgres.fresh && chains.some(chain => !chain.restored);
  const emptied = chainLost ? 'chain lost' : migratedByOthers(await readMigrationState(database));
  if (emptied) {
    for (const chain of chains) if (chain.restored) await chain.reset();
    await emptyDatabase(database);
  } else {
    await migrate(database);
  }

  const forgotten = await describeForgotten({ databaseUrl, cells });
  if (forgotten.length > 0) throw new ConfigError(forgotten);
  await Promise.all(chains.map(chain => chain.prepare()));

  const origin = settings.publicOrigin || `http://127.0.0.1:${settings.port}`;
  const config = loadConfig('sandbox', withSandboxDefaults(process.env), {
    DATABASE_URL: databaseUrl,
    PUBLIC_ORIGIN: origin,
    EVM_PAY_TO: evm.payTo,
    EVM_PRIVATE_KEY: keys.evmPrivateKey,
    SVM_PAY_TO: svm.payTo,
    SVM_PRIVATE_KEY: keys.svmPrivateKey,
    ADMIN_API_KEY: settings.adminApiKey || keys.adminApiKey,
    ...rpcSettings(chains),
    TEMPO_PAY_TO: settings.tempoPayTo || evm.payTo,
    MPP_SECRET_KEY: settings.mppSecretKey || keys.mppSecretKey,
  });
  const services = createServices(config, { log, clock: systemClock });

  async function reset(): Promise<void> {
    await services.whilePaused(async () => {
      for (const chain of chains) {
        await chain.reset();
        await chain.prepare();
      }
      await emptyDatabase({ databaseUrl, cells });
    });
  }

  const apiKeys: SandboxOptions['apiKeys'] = {
    dria: order => services.createFundedKey({ ...order, dialect: 'dria' }),
    aitopup: order => services.createFundedKey({ ...order, dialect: 'aitopup' }),
  };
  const sandbox = { publicOrigin: origin, databaseUrl, networks: chains, apiKeys, reset };
  const app = await buildApp({ config, services, log, clock: systemClock, sandbox });
  await services.start();
  await app.listen({ host: config.host, port: config.port });
  process.stdout.write(
    sandboxBanner({ origin, networks: chains, databaseUrl, adminApiKey: config.adminApiKey, emptied }),
  );
  await stopOnSignal(app, [services.stop, ...chains.map(chain => chain.stop), postgres.stop], log);
}

/** Tells the gateway where each chain is. */
function rpcSettings(chains: readonly SandboxChain[]): Record<string, string> {
  const urls = new Map(chains.map(({ network, rpcUrl }) => [network, rpcUrl]));
  const named = Object.entries(RPC_SETTINGS).map(([network, setting]) => [setting, urls.get(network)]);
  return Object.fromEntries(named.filter(([, url]) => url !== undefined)) as Record<string, string>;
}

/** Another release or branch has used this folder: its tables may look right and mean something else. */
function migratedByOthers({ changed, late, gone }: MigrationState): 'other migrations' | undefined {
  return changed.length + late.length + gone.length > 0 ? 'other migrations' : undefined;
}

function withSandboxDefaults(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return {
    LOG_LEVEL: 'warn',
    RATE_LIMITS: 'off',
    WEBHOOK_ALLOW_LOOPBACK: 'true',
    SIWX_DOMAINS: SIGN_IN_DOMAINS,
    NETWORKS: sandboxNetworks().join(','),
    ...env,
  };
}
