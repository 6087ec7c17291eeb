import { buildApp } from '../app.ts';
import { EVM_NETWORKS } from '../chains/evm-networks.ts';
import { loadConfig } from '../config/config.ts';
import { emptyDatabase, migrate, readMigrationState } from '../db/migrate.ts';
import type { MigrationState } from '../db/migration-files.ts';
import { DEFAULT_CELL } from '../db/queryable.ts';
import { createLog } from '../http/log.ts';
import { systemClock } from '../lib/clock.ts';
import { startLocalEvmChain } from '../local/evm-chain.ts';
import { startLocalPostgres } from '../local/postgres.ts';
import type { SandboxNetwork, SandboxOptions } from '../sandbox/routes.ts';
import { createServices } from '../services/services.ts';
import { sandboxBanner } from './banner.ts';
import { stopOnSignal } from './lifecycle.ts';
import { loadSandboxKeys } from './sandbox-keys.ts';

const CELLS = [DEFAULT_CELL];

/** 1000 ETH: gas never runs out in a sandbox. */
const GAS_WEI = 1_000n * 10n ** 18n;

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
  const { dataDir } = settings;
  const keys = loadSandboxKeys(dataDir);
  const report = (line: string) => log.debug({}, line);

  const [postgres, chains] = await Promise.all([
    startLocalPostgres({ dataDir, log: report }),
    Promise.all(
      EVM_NETWORKS.filter(n => settings.networks.includes(n.network)).map(async network => ({
        network,
        chain: await startLocalEvmChain({
          dataDir,
          chainId: network.chainId,
          token: network.usdc,
          log: report,
        }),
      })),
    ),
  ]);
  const { databaseUrl } = postgres;
  const database = { databaseUrl, cells: CELLS, log: report };
  const chainLost = !postgres.fresh && chains.some(({ chain }) => !chain.restored);
  const emptied = chainLost ? 'chain lost' : migratedByOthers(await readMigrationState(database));
  if (emptied) {
    for (const { chain } of chains) if (chain.restored) await chain.reset();
    await emptyDatabase(database);
  } else {
    await migrate(database);
  }

  for (const { chain } of chains) await chain.fundGas(keys.evmSender, GAS_WEI);

  const origin = settings.publicOrigin || `http://127.0.0.1:${settings.port}`;
  const config = loadConfig('sandbox', withSandboxDefaults(process.env), {
    DATABASE_URL: databaseUrl,
    PUBLIC_ORIGIN: origin,
    EVM_PAY_TO: settings.evmPayTo || keys.evmPayTo,
    EVM_PRIVATE_KEY: keys.evmPrivateKey,
    ADMIN_API_KEY: settings.adminApiKey || keys.adminApiKey,
    ...Object.fromEntries(chains.map(({ network, chain }) => [network.rpcSetting, chain.rpcUrl])),
  });
  const services = createServices(config, { log, clock: systemClock });
  const networks = chains.map(
    ({ network, chain }): SandboxNetwork => ({
      network: network.network,
      rpcUrl: chain.rpcUrl,
      asset: network.usdc.address,
      assetDecimals: network.usdc.decimals,
      payTo: config.evmPayTo,
      mint: (address, amount) => chain.mint(address, amount),
    }),
  );

  async function reset(): Promise<void> {
    await services.whilePaused(async () => {
      for (const { chain } of chains) {
        await chain.reset();
        await chain.fundGas(keys.evmSender, GAS_WEI);
      }
      await emptyDatabase({ databaseUrl, cells: CELLS });
    });
  }

  const apiKeys: SandboxOptions['apiKeys'] = {
    dria: order => services.createFundedKey({ ...order, dialect: 'dria' }),
  };
  const sandbox = { publicOrigin: origin, databaseUrl, networks, apiKeys, reset };
  const app = await buildApp({ config, services, log, clock: systemClock, sandbox });
  await services.start();
  await app.listen({ host: config.host, port: config.port });
  process.stdout.write(
    sandboxBanner({ origin, networks, databaseUrl, adminApiKey: config.adminApiKey, emptied }),
  );
  await stopOnSignal(app, [services.stop, ...chains.map(({ chain }) => chain.stop), postgres.stop], log);
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
    NETWORKS: EVM_NETWORKS.map(({ network }) => network).join(','),
    ...env,
  };
}
