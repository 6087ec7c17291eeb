import { createSvmChain } from '../chains/svm-chain.ts';
import { createSvmClient } from '../chains/svm-client.ts';
import { findSvmNetwork, type SvmNetwork } from '../chains/svm-networks.ts';
import { createSvmReceipts } from '../chains/svm-receipts.ts';
import type { SvmReceiver } from '../chains/svm-setup.ts';
import type { Config } from '../config/config.ts';
import { svmChecks } from '../facilitators/svm-checks.ts';
import { createEmbeddedSvmFacilitator } from '../facilitators/svm-embedded.ts';
import { createSvmSender, type SvmSender } from '../facilitators/svm-sender.ts';
import type { Clock } from '../lib/clock.ts';
import { associatedTokenAccount } from '../lib/svm-address.ts';
import { readSvmKey } from '../lib/svm-key.ts';
import type { Chain } from '../ports/chain.ts';
import type { Facilitator, Facilitators } from '../ports/facilitator.ts';
import type { SvmClient } from '../ports/svm-client.ts';
import type { SvmSenderStore } from '../ports/svm-sender-store.ts';
import type { AuditedReceiver } from '../topups/receipt-audit.ts';
import type { PaymentOption } from '../topups/types.ts';
import type { FacilitatorNetwork } from './facilitators.ts';
import type { Seams } from './seams.ts';

const RPC_TIMEOUT_MS = 8_000;

/** One Solana network with its node, its key and its proofs. */
export interface SvmParts {
  network: SvmNetwork;
  client: SvmClient;
  chain: Chain;
  receiver: SvmReceiver;
  /** Absent without a key: then other facilitators settle. */
  sender: SvmSender | undefined;
  /** The facilitator inside this process, which signs with that key. */
  embedded: Facilitator | undefined;
}

/** The parts of every Solana network in the configuration. */
export function createSvmParts(
  config: Config,
  deps: { store: SvmSenderStore; clock: Clock; seams: Seams },
): SvmParts[] {
  const { store, clock, seams } = deps;
  const rows = config.networks.map(findSvmNetwork).filter(network => network !== undefined);
  const networks = rows.map(row => seams.svmNetwork?.(row) ?? row);
  const key = config.svmPrivateKey ? readSvmKey(config.svmPrivateKey) : undefined;
  return networks.map(network => {
    const { usdc, title } = network;
    const rpcUrl = config.rpcUrls[network.rpcSetting];
    const plain = createSvmClient({
      network: network.network,
      title,
      rpcUrl,
      timeoutMs: RPC_TIMEOUT_MS,
    });
    const client = seams.svmClient?.(plain) ?? plain;
    const payTo = config.svmPayTo;
    const receiver = {
      payTo,
      tokenAccount: associatedTokenAccount(payTo, usdc.address, usdc.tokenProgram),
    };
    const chain = createSvmChain(network, client, receiver);
    const sender = key && createSvmSender({ client, store, key, clock });
    const embedded = sender && embeddedOn(network, client, sender);
    return { network, client, chain: seams.chain?.(chain) ?? chain, receiver, sender, embedded };
  });
}

function embeddedOn(
  { network, usdc, limits }: SvmNetwork,
  client: SvmClient,
  sender: SvmSender,
): Facilitator {
  const token = { mint: usdc.address, tokenProgram: usdc.tokenProgram, decimals: usdc.decimals };
  return createEmbeddedSvmFacilitator([{ network, token, limits, client, sender }]);
}

/** One Solana network as facilitators see it. */
export function toSvmFacilitatorNetwork({ network, embedded }: SvmParts): FacilitatorNetwork {
  const { alias, maxTimeoutSeconds } = network;
  return { network: network.network, alias, maxTimeoutSeconds, checks: svmChecks, embedded };
}

/** What is compared with the books on one network. */
export function toSvmReceiver({ network, client, receiver }: SvmParts): AuditedReceiver {
  return {
    scan: createSvmReceipts(network, client, receiver),
    environment: network.environment,
    assetDecimals: network.usdc.decimals,
  };
}

/** The way to pay on one network, as the surfaces offer it. */
export function toSvmOption(
  { network, receiver }: Pick<SvmParts, 'network' | 'receiver'>,
  facilitators: Facilitators,
): PaymentOption {
  const { usdc } = network;
  return {
    scheme: 'exact',
    network: network.network,
    networkAlias: network.alias,
    environment: network.environment,
    asset: usdc.address,
    assetDecimals: usdc.decimals,
    payTo: receiver.payTo,
    maxTimeoutSeconds: network.maxTimeoutSeconds,
    extra: { name: usdc.name, version: usdc.version },
    solana: {
      tokenAccount: receiver.tokenAccount,
      tokenProgram: usdc.tokenProgram,
      feePayer: () => facilitators.feePayer(network.network),
    },
  };
}
