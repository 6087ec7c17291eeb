import { createAccounts } from '../accounts/accounts.ts';
import { createApiKeyCheck } from '../accounts/api-key-check.ts';
import { createChannels } from '../accounts/channels.ts';
import { createCustomerCredit } from '../accounts/customer-credit.ts';
import { createFundedKey, type FundedKeyOrder } from '../accounts/funded-keys.ts';
import { createKeyAdmin } from '../accounts/key-admin.ts';
import { createKeySpending } from '../accounts/key-spending.ts';
import { createOperatorCredits } from '../accounts/operator-credits.ts';
import { createSignIn } from '../accounts/sign-in.ts';
import { createWalletKeys } from '../accounts/wallet-keys.ts';
import { createWalletLinks } from '../accounts/wallet-links.ts';
import type { Config } from '../config/config.ts';
import { openCells } from '../customers/cells.ts';
import { createWalletSignatures } from '../customers/wallet-signatures.ts';
import { createPool } from '../db/pool.ts';
import { repeatStatements } from '../db/repeat.ts';
import { createEmbeddedFacilitator } from '../facilitators/embedded.ts';
import { createEvmChecks } from '../facilitators/evm-checks.ts';
import { ensurePartitions } from '../ledger/partitions.ts';
import type { Spending } from '../ledger/spending-service.ts';
import type { Clock } from '../lib/clock.ts';
import { unavailable } from '../lib/errors.ts';
import type { Loop } from '../lib/loop.ts';
import { createFacilitatorStore } from '../payments/facilitator-store.ts';
import { createPaymentStatements } from '../payments/payment-statements.ts';
import { registerNetworks } from '../payments/payment-store.ts';
import { createSenderStore } from '../payments/sender-store.ts';
import { createSvmSenderStore } from '../payments/svm-sender-store.ts';
import type { Log } from '../ports/log.ts';
import { createFinalityWatcher } from '../topups/finality.ts';
import { createPaymentLookups } from '../topups/payment-lookups.ts';
import { createPaymentStatuses } from '../topups/payment-status.ts';
import { createReceiptAudit } from '../topups/receipt-audit.ts';
import { createReconciler } from '../topups/reconciler.ts';
import { createReconciliation } from '../topups/reconciliation.ts';
import { createSettlement } from '../topups/settlement.ts';
import { createTopups } from '../topups/topups.ts';
import type { Topups } from '../topups/types.ts';
import { createAgentParts } from './agents.ts';
import { forgetTask, ledgerTasks, startTasks, type Task } from './background.ts';
import { createEvmParts, toEmbedded, toFacilitatorNetwork, tokenOf, toOption, toReceiver } from './evm.ts';
import { createFacilitatorApiParts } from './facilitator-api.ts';
import { createFacilitatorParts } from './facilitators.ts';
import { createSettlementNetwork, environmentOf, requireKnownNetworks } from './network.ts';
import { checkReadiness, evmReadiness, svmReadiness, tempoReadiness } from './readiness.ts';
import type { Seams } from './seams.ts';
import { createSpending } from './spending.ts';
import { createSvmParts, toSvmFacilitatorNetwork, toSvmOption, toSvmReceiver } from './svm.ts';
import { createTempoParts, toMppRail } from './tempo.ts';
import { createTrustedParts, trustCheck, withNodes } from './trusted.ts';
import { createVoucherParts } from './vouchers.ts';
import { createWebhookParts } from './webhooks.ts';

export type Services = ReturnType<typeof createServices>;

const SETTLE_WAIT_MS = 30_000;
/** An honest facilitator's transaction is mined when it says success; our node may be a little behind. */
const DOUBT_AFTER_MS = 40_000;
const RECONCILE_EVERY_MS = 2_000;
const MAINTAIN_SENDER_EVERY_MS = 5_000;
/** Most reorganisations are over after so long. */
const FINALITY_CHECK_MS = 10_000;
const FINALITY_ROUND_MS = 2_000;
const REORG_GRACE_MS = 4_000;
const MAX_CONNECTIONS = 20;
/** Somewhat above the time after which the database itself ends a statement. */
const ANSWER_TIMEOUT_MS = 20_000;

/** Builds the gateway's parts from the configuration: the one place where implementations are chosen. */
export function createServices(config: Config, deps: { log: Log; clock: Clock; seams?: Seams }) {
  const { log, clock, seams = {} } = deps;
  const { cells } = config;
  const pool = repeatStatements(
    createPool({
      databaseUrl: config.databaseUrl,
      maxConnections: MAX_CONNECTIONS,
      answerTimeoutMs: ANSWER_TIMEOUT_MS,
      onError: error => log.error({ err: error }, 'idle database connection broke'),
    }),
  );
  const { spending, close: closeSpending } = createSpending({
    databaseUrl: config.databaseUrl,
    cellCount: cells.length,
    log,
  });
  requireKnownNetworks(config);
  const trusted = createTrustedParts(config, clock);
  const read = withNodes(config);
  const evm = createEvmParts(read, { senderStore: createSenderStore(pool), clock, seams });
  const svm = createSvmParts(read, { store: createSvmSenderStore(pool), clock, seams });
  const embedded = createEmbeddedFacilitator(toEmbedded(evm, config), clock);
  const checks = createEvmChecks(
    evm.map(({ network }) => ({ network: network.network, token: tokenOf(network) })),
    clock,
  );
  const facilitators = createFacilitatorParts(
    config,
    [
      ...evm.map(parts => toFacilitatorNetwork(parts, checks, parts.lanes && embedded)),
      ...svm.map(toSvmFacilitatorNetwork),
      ...trusted.map(({ facilitatorNetwork }) => facilitatorNetwork),
    ],
    { store: createFacilitatorStore(pool, cells), log, clock, seams },
  );
  const chains = [
    ...evm.map(parts => ({ ...parts, sender: parts.lanes, blockTimeMs: parts.network.blockTimeMs })),
    ...svm.map(parts => ({ ...parts, blockTimeMs: parts.network.slotMs })),
    ...trusted,
  ];
  const networks = new Map(
    chains.map(parts => {
      const { network } = parts.network;
      return [network, createSettlementNetwork(parts, config, facilitators.listFor(network))] as const;
    }),
  );
  const tempo = createTempoParts(config, { clock, seams });
  if (tempo) networks.set(tempo.network.network, tempo.settlement);
  const agentParts = createAgentParts(config, { pool, cells, clock });
  const firstCheckMs = seams.finalityCheckMs ?? FINALITY_CHECK_MS;
  const statements = createPaymentStatements(pool);
  const settlement = createSettlement({
    db: pool,
    statements,
    networks,
    distrust: facilitators.registry.distrust,
    purposeEffects: agentParts.effects,
    clock,
    log,
    firstCheckMs,
    doubtAfterMs: seams.doubtAfterMs ?? DOUBT_AFTER_MS,
  });
  const settleWaitMs = seams.settleWaitMs ?? SETTLE_WAIT_MS;
  const topups = createTopups({ db: pool, statements, networks, settlement, settleWaitMs });
  const graceMs = seams.reorgGraceMs ?? REORG_GRACE_MS;
  const facilitatorApi = createFacilitatorApiParts(config, {
    db: pool,
    evm,
    svm,
    embedded,
    networks,
    settlement,
    settleWaitMs,
    finality: { firstCheckMs, graceMs },
    log,
    seams,
  });
  const reconciler = createReconciler({
    db: pool,
    cells,
    settlement,
    foreign: facilitatorApi.finishing,
    log,
    intervalMs: seams.reconcileEveryMs ?? RECONCILE_EVERY_MS,
  });
  const finality = createFinalityWatcher({
    db: pool,
    cells,
    settlement,
    log,
    firstCheckMs,
    graceMs,
  });
  const reconciliation = createReconciliation({
    db: pool,
    cells,
    receivers: [
      ...evm.map(parts => toReceiver(parts, config.evmPayTo)),
      ...svm.map(toSvmReceiver),
      ...(tempo ? [tempo.receiver] : []),
    ],
    reconciler,
    audit: createReceiptAudit({ db: pool, cells, settlement }),
    unread: trusted.map(({ network }) => network.network),
  });

  const signatures = createWalletSignatures(evm.map(parts => parts.client));
  const signIn = createSignIn({ db: pool, clock, signatures, domains: config.siwxDomains });
  const apiKeys = createApiKeyCheck({ db: pool, clock });
  const accounts = createAccounts(pool, environmentOf);
  const channels = createChannels({ db: pool, clock });
  const { webhooks, dispatcher, outbound, sealer } = createWebhookParts(config, {
    pool,
    cells,
    clock,
    log,
    seams,
  });
  const { sentTopups, vouchers, voucherTasks, closeDelivery } = createVoucherParts(config, {
    pool,
    cells,
    sealer,
    clock,
    log,
  });
  const tasks = [
    ...chains.flatMap(({ network, sender }): Task[] =>
      sender
        ? [
            {
              everyMs: seams.maintainSenderEveryMs ?? MAINTAIN_SENDER_EVERY_MS,
              problem: `transactions on ${network.title} could not be looked after`,
              round: () => sender.maintain(),
            },
          ]
        : [],
    ),
    ...facilitators.tasks,
    {
      everyMs: Math.min(firstCheckMs, FINALITY_ROUND_MS),
      problem: 'credited payments could not be compared with the chain',
      round: () => finality.runOnce(),
    },
    {
      everyMs: Math.min(firstCheckMs, FINALITY_ROUND_MS),
      problem: 'settlements for others could not be compared with the chain',
      round: () => facilitatorApi.finality.runOnce(),
    },
    forgetTask('used sign-in nonces could not be deleted', () => signIn.forgetExpiredNonces()),
    forgetTask('old channel messages could not be deleted', () => channels.forgetOldMessages()),
    ...voucherTasks,
    forgetTask('old events could not be deleted', () => dispatcher.forgetOldEvents()),
    ...cells.flatMap(cell => ledgerTasks(pool, cell)),
    ...agentParts.tasks,
  ];
  let loops: Loop[] = [];
  let paused = false;

  async function start(): Promise<void> {
    for (const cell of cells) {
      await ensurePartitions(pool, cell);
      await registerNetworks(pool, cell, [
        ...chains.map(parts => parts.network),
        ...(tempo ? [tempo.network] : []),
      ]);
    }
    await openCells(pool, cells);
    spending.resume();
    await facilitators.start();
    await agentParts.register();
    await reconciler.start();
    loops = startTasks(tasks, log);
    dispatcher.start();
  }

  async function stopWork(): Promise<void> {
    await Promise.all([topups.drained(), facilitatorApi.settlements.drained(), spending.drain()]);
    await reconciler.stop();
    for (const loop of loops) await loop.stop();
    await dispatcher.stop();
  }

  return {
    topups: {
      topUp(request) {
        if (paused) throw unavailable('the sandbox, which is being reset,');
        return topups.topUp(request);
      },
    } satisfies Topups,
    /** The MPP rail; absent where no Tempo network is configured. */
    mpp: tempo && toMppRail(tempo),
    /** Absent without MPP_SECRET_KEY. */
    agents: agentParts.agents,
    keyVerification: agentParts.keyVerification,
    apiTokens: agentParts.apiTokens,
    payments: createPaymentStatuses(pool),
    paymentLookups: createPaymentLookups(pool),
    webhooks,
    sentTopups,
    vouchers,
    signIn,
    apiKeys,
    keySpending: createKeySpending({ db: pool, clock }),
    keyAdmin: createKeyAdmin({ db: pool, clock }),
    walletLinks: createWalletLinks({ pool, clock, signatures, domains: config.siwxDomains }),
    walletKeys: createWalletKeys({ db: pool, clock, signatures, domains: config.siwxDomains }),
    operatorCredits: createOperatorCredits(pool),
    /** For the sandbox: keys with credit that nobody paid for. */
    createFundedKey: (order: FundedKeyOrder) => createFundedKey(pool, order),
    credit: createCustomerCredit(pool),
    /** Holds, captures and debits; the requests of every dialect share its lanes. */
    spending: spending satisfies Spending,
    channels,
    /** Compares chain and books; see `topup-gateway reconcile`. Works with and without the background loops. */
    reconcile: reconciliation.run,
    /** Takes money that no payment explains out of the list, because a person dealt with it. */
    closeReceipt: reconciliation.close,
    /** The same for a settlement of another seller that a reorganisation has undone. */
    closeSettlement: reconciliation.closeSettlement,
    accounts,
    /** EVM first: the published Venice client takes the first entry when it does not find Base's USDC. */
    paymentOptions: [
      ...evm.map(({ network }) => toOption(network, config)),
      ...svm.map(parts => toSvmOption(parts, facilitators.listFor(parts.network.network))),
      ...trusted.map(parts => parts.option(facilitators.listFor(parts.network.network))),
    ],
    readiness: checkReadiness({
      trust: trustCheck(config, trusted),
      pool,
      databaseUrl: config.databaseUrl,
      cells,
      networks: [
        ...evm.map(evmReadiness),
        ...svm.map(svmReadiness),
        ...(tempo ? [tempoReadiness(tempo)] : []),
      ],
      settling: chains.map(({ network: { network, title } }) => ({
        network,
        title,
        facilitators: facilitators.listFor(network),
      })),
    }),
    /** This gateway as a facilitator for other sellers. */
    facilitatorApi,
    /** Asks the facilitators what they support, for a command that runs no background work. */
    async learnFacilitators() {
      await facilitators.start();
      await facilitators.learn();
    },
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
        for (const { sender } of chains) sender?.forget();
        apiKeys.forgetAll();
        accounts.forgetAll();
        await start();
        paused = false;
      }
    },
    /** Waits for settlements under way, then closes everything. */
    async stop() {
      await stopWork();
      await Promise.all([pool.end(), closeSpending(), outbound.close(), closeDelivery()]);
    },
  };
}
