import { privateKeyToAddress } from 'viem/accounts';
import { createAccounts } from './accounts/accounts.ts';
import { createApiKeyCheck } from './accounts/api-key-check.ts';
import { createChannels } from './accounts/channels.ts';
import { createCustomerCredit } from './accounts/customer-credit.ts';
import { createFundedKey, type FundedKeyOrder } from './accounts/funded-keys.ts';
import { createSignIn } from './accounts/sign-in.ts';
import { createWalletKeys } from './accounts/wallet-keys.ts';
import { createEvmChain } from './chains/evm-chain.ts';
import { createEvmClient } from './chains/evm-client.ts';
import { type EvmNetwork, findEvmNetwork } from './chains/evm-networks.ts';
import { type Config, ConfigError } from './config.ts';
import { createPool } from './db/pool.ts';
import { DEFAULT_CELL } from './db/queryable.ts';
import { createContractWalletVerifier } from './facilitators/contract-wallet.ts';
import { createEmbeddedFacilitator } from './facilitators/embedded.ts';
import { createEvmSender, type EvmSender } from './facilitators/evm-sender.ts';
import { receiptsContra } from './ledger/chart.ts';
import { ensurePartitions } from './ledger/partitions.ts';
import { sealWindow } from './ledger/seals.ts';
import { sweep } from './ledger/sweeps.ts';
import { assert } from './lib/assert.ts';
import type { Clock } from './lib/clock.ts';
import { unavailable } from './lib/errors.ts';
import { type Loop, startLoop } from './lib/loop.ts';
import { registerNetworks } from './payments/payment-store.ts';
import { createSenderStore } from './payments/sender-store.ts';
import type { Chain } from './ports/chain.ts';
import type { EvmClient } from './ports/evm-client.ts';
import type { Facilitator } from './ports/facilitator.ts';
import type { Log } from './ports/log.ts';
import { checkReadiness } from './readiness.ts';
import { createPaymentLookups } from './topups/payment-lookups.ts';
import { createPaymentStatuses } from './topups/payment-status.ts';
import { createReconciler } from './topups/reconciler.ts';
import { createSettlement, type SettlementNetwork } from './topups/settlement.ts';
import { createTopups } from './topups/topups.ts';
import type { PaymentOption, Topups } from './topups/types.ts';

/** Where a fault can be put around a real part; production passes none. */
export interface Seams {
  evmClient?: (client: EvmClient) => EvmClient;
  facilitator?: (facilitator: Facilitator) => Facilitator;
  chain?: (chain: Chain) => Chain;
  settleWaitMs?: number;
  reconcileEveryMs?: number;
  maintainSenderEveryMs?: number;
}

export type Services = ReturnType<typeof createServices>;

const RPC_TIMEOUT_MS = 8_000;
const SETTLE_WAIT_MS = 30_000;
const RECONCILE_EVERY_MS = 2_000;
const MAINTAIN_SENDER_EVERY_MS = 5_000;
const FORGET_EVERY_MS = 60_000;
const SWEEP_EVERY_MS = 5_000;
const SEAL_EVERY_MS = 10_000;
const PARTITIONS_EVERY_MS = 3_600_000;
const MAX_CONNECTIONS = 20;

/** One EVM network with its node, its key and its proofs. */
interface EvmParts {
  network: EvmNetwork;
  client: EvmClient;
  chain: Chain;
  sender: EvmSender;
}

/** Builds the gateway's parts from the configuration: the one place where implementations are chosen. */
export function createServices(config: Config, deps: { log: Log; clock: Clock; seams?: Seams }) {
  const { log, clock, seams = {} } = deps;
  const cells = [DEFAULT_CELL];
  const pool = createPool({
    databaseUrl: config.databaseUrl,
    maxConnections: MAX_CONNECTIONS,
    onError: error => log.error({ err: error }, 'idle database connection broke'),
  });
  const senderStore = createSenderStore(pool);
  const evm = evmNetworks(config).map((network): EvmParts => {
    const rpcUrl = config.rpcUrls[network.rpcSetting];
    const plain = createEvmClient({
      network: network.network,
      title: network.title,
      rpcUrl,
      timeoutMs: RPC_TIMEOUT_MS,
    });
    const client = seams.evmClient?.(plain) ?? plain;
    const chain = createEvmChain(network, client, clock);
    const sender = createEvmSender({
      client,
      store: senderStore,
      chainId: network.chainId,
      address: privateKeyToAddress(config.evmPrivateKey as `0x${string}`).toLowerCase(),
      privateKey: config.evmPrivateKey,
      maxGasPriceWei: network.maxGasPriceWei,
      clock,
    });
    return { network, client, chain: seams.chain?.(chain) ?? chain, sender };
  });
  const embedded = createEmbeddedFacilitator(evm.map(toEmbedded), clock);
  const facilitator = seams.facilitator?.(embedded) ?? embedded;
  const networks = new Map(evm.map(parts => [parts.network.network, toSettlement(parts, facilitator)]));
  const settlement = createSettlement({ db: pool, networks, log });
  const settleWaitMs = seams.settleWaitMs ?? SETTLE_WAIT_MS;
  const topups = createTopups({ db: pool, networks, settlement, settleWaitMs });
  const reconciler = createReconciler({
    db: pool,
    cells,
    settlement,
    senderStore,
    clock,
    log,
    intervalMs: seams.reconcileEveryMs ?? RECONCILE_EVERY_MS,
  });

  const signIn = createSignIn({ db: pool, clock, domains: config.siwxDomains });
  const channels = createChannels({ db: pool, clock });
  let loops: Loop[] = [];
  let paused = false;

  async function start(): Promise<void> {
    for (const cell of cells) {
      await ensurePartitions(pool, cell);
      await registerNetworks(
        pool,
        cell,
        evm.map(parts => parts.network),
      );
    }
    await reconciler.start();
    loops = [
      // One loop for each network, so that a slow node holds up nobody else.
      ...evm.map(({ network, sender }) =>
        every(
          seams.maintainSenderEveryMs ?? MAINTAIN_SENDER_EVERY_MS,
          `transactions on ${network.title} could not be looked after`,
          () => sender.maintain(),
        ),
      ),
      every(FORGET_EVERY_MS, 'used sign-in nonces could not be deleted', () => signIn.forgetExpiredNonces()),
      every(FORGET_EVERY_MS, 'old channel messages could not be deleted', () => channels.forgetOldMessages()),
      ...cells.flatMap(cell => [
        every(SWEEP_EVERY_MS, 'expired holds and grants could not be ended', () => sweep(pool, cell)),
        every(SEAL_EVERY_MS, 'the log could not be sealed', () => sealWindow(pool, cell)),
        every(PARTITIONS_EVERY_MS, 'partitions could not be made', () => ensurePartitions(pool, cell)),
      ]),
    ];
  }

  function every(intervalMs: number, problem: string, round: () => Promise<unknown>): Loop {
    return startLoop({ intervalMs, round, onError: error => log.error({ err: error }, problem) });
  }

  async function stopWork(): Promise<void> {
    await topups.drained();
    await reconciler.stop();
    for (const loop of loops) await loop.stop();
  }

  return {
    topups: {
      topUp(request) {
        if (paused) throw unavailable('the sandbox, which is being reset,');
        return topups.topUp(request);
      },
    } satisfies Topups,
    payments: createPaymentStatuses(pool),
    paymentLookups: createPaymentLookups(pool),
    signIn,
    apiKeys: createApiKeyCheck({ db: pool, clock }),
    walletKeys: createWalletKeys({ db: pool, clock, domains: config.siwxDomains }),
    /** For the sandbox: keys with credit that nobody paid for. */
    createFundedKey: (order: FundedKeyOrder) => createFundedKey(pool, order),
    credit: createCustomerCredit(pool),
    channels,
    accounts: createAccounts(pool, network => findEvmNetwork(network)?.environment ?? 'live'),
    paymentOptions: evm.map(({ network }) => toOption(network, config.evmPayTo)),
    readiness: checkReadiness({ pool, databaseUrl: config.databaseUrl, cells, evm }),
    /** Finishes what a crash left open and starts the background work. */
    start,
    /** Runs `work` while no payment is under way and nothing is remembered of what it replaces. */
    async whilePaused(work: () => Promise<void>) {
      if (paused) throw unavailable('the sandbox, which is being reset,');
      paused = true;
      try {
        await stopWork();
        await work();
      } finally {
        for (const { sender } of evm) sender.forget();
        await start();
        paused = false;
      }
    },
    /** Waits for settlements under way, then closes everything. */
    async stop() {
      await stopWork();
      await pool.end();
    },
  };
}

function evmNetworks(config: Config): EvmNetwork[] {
  const found = config.networks.map(id => findEvmNetwork(id) ?? id);
  const unknown = found.filter(network => typeof network === 'string');
  if (unknown.length > 0)
    throw new ConfigError(unknown.map(id => `NETWORKS: ${id} is not supported by this version`));
  return found.filter(network => typeof network !== 'string');
}

function toEmbedded({ network, client, sender }: EvmParts) {
  const { usdc, chainId } = network;
  const token = { name: usdc.name, version: usdc.version, chainId, verifyingContract: usdc.address };
  const id = network.network as `${string}:${string}`;
  const contractWallets = createContractWalletVerifier(id, token, client, sender.address as `0x${string}`);
  return { network: network.network, token, settleGas: network.settleGas, client, sender, contractWallets };
}

function toSettlement({ network, chain }: EvmParts, facilitator: Facilitator): SettlementNetwork {
  const contra = receiptsContra(network.network);
  assert(contra !== undefined, `${network.network} has a code in the chart of accounts`);
  let checked = false;
  return {
    chain,
    facilitator,
    async ready() {
      if (checked) return;
      const [problem] = await chain.checkSetup();
      if (problem) throw unavailable(network.title, new Error(problem));
      checked = true;
    },
    assetDecimals: network.usdc.decimals,
    confirmations: network.confirmations,
    pollMs: Math.min(network.blockTimeMs / 4, 500),
    contra,
  };
}

function toOption(network: EvmNetwork, payTo: string): PaymentOption {
  return {
    scheme: 'exact',
    network: network.network,
    networkAlias: network.alias,
    environment: network.environment,
    asset: network.usdc.address,
    assetDecimals: network.usdc.decimals,
    payTo,
    maxTimeoutSeconds: network.maxTimeoutSeconds,
    extra: { name: network.usdc.name, version: network.usdc.version },
  };
}
