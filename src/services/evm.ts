import { privateKeyToAddress } from 'viem/accounts';
import { createEvmChain } from '../chains/evm-chain.ts';
import { createEvmClient } from '../chains/evm-client.ts';
import { type EvmNetwork, findEvmNetwork } from '../chains/evm-networks.ts';
import { createEvmReceipts } from '../chains/evm-receipts.ts';
import type { Config } from '../config/config.ts';
import { createContractWalletVerifier } from '../facilitators/contract-wallet.ts';
import type { EmbeddedNetwork } from '../facilitators/embedded.ts';
import { createEvmLanes, type EvmLanes } from '../facilitators/evm-lanes.ts';
import { createEvmSender } from '../facilitators/evm-sender.ts';
import type { Clock } from '../lib/clock.ts';
import type { TokenDomain } from '../lib/eip3009.ts';
import type { Chain } from '../ports/chain.ts';
import type { EvmClient } from '../ports/evm-client.ts';
import type { Facilitator, PaymentChecks } from '../ports/facilitator.ts';
import type { SenderStore } from '../ports/sender-store.ts';
import type { AuditedReceiver } from '../topups/receipt-audit.ts';
import type { PaymentOption } from '../topups/types.ts';
import type { FacilitatorNetwork } from './facilitators.ts';
import type { Seams } from './seams.ts';

const RPC_TIMEOUT_MS = 8_000;

/** One EVM network with its node, its key and its proofs. */
export interface EvmParts {
  network: EvmNetwork;
  client: EvmClient;
  chain: Chain;
  /** Absent without a key: then other facilitators settle. */
  lanes: EvmLanes | undefined;
}

/** The parts of every EVM network in the configuration. */
export function createEvmParts(
  config: Config,
  deps: { senderStore: SenderStore; clock: Clock; seams: Seams },
): EvmParts[] {
  const { senderStore, clock, seams } = deps;
  const networks = config.networks.map(findEvmNetwork).filter(network => network !== undefined);
  return networks.map(network => {
    const rpcUrl = config.rpcUrls[network.rpcSetting];
    const plain = createEvmClient({
      network: network.network,
      title: network.title,
      rpcUrl,
      timeoutMs: RPC_TIMEOUT_MS,
    });
    const client = seams.evmClient?.(plain) ?? plain;
    const chain = createEvmChain(network, client, clock, {
      permit2: config.permit2 !== 'off',
      undeployedWallets: config.walletFactories.length > 0,
    });
    const senders = config.evmPrivateKeys.map(privateKey =>
      createEvmSender({
        client,
        store: senderStore,
        chainId: network.chainId,
        address: privateKeyToAddress(privateKey as `0x${string}`).toLowerCase(),
        privateKey,
        maxGasPriceWei: network.maxGasPriceWei,
        clock,
      }),
    );
    const lanes = senders.length > 0 ? createEvmLanes({ client, store: senderStore, senders }) : undefined;
    return { network, client, chain: seams.chain?.(chain) ?? chain, lanes };
  });
}

/** One EVM network as facilitators see it. */
export function toFacilitatorNetwork(
  parts: EvmParts,
  checks: PaymentChecks,
  embedded: Facilitator | undefined,
): FacilitatorNetwork {
  const { network, alias, maxTimeoutSeconds, usdc } = parts.network;
  return { network, alias, maxTimeoutSeconds, domain: usdc, checks, embedded };
}

export function tokenOf({ usdc, chainId }: EvmNetwork): TokenDomain {
  return { name: usdc.name, version: usdc.version, chainId, verifyingContract: usdc.address };
}

/** What the embedded facilitator needs of the networks that it has a key for. */
export function toEmbedded(
  evm: readonly EvmParts[],
  { walletFactories }: Pick<Config, 'walletFactories'>,
): EmbeddedNetwork[] {
  return evm.flatMap(({ network, client, lanes }) => {
    if (!lanes) return [];
    const token = tokenOf(network);
    const id = network.network as `${string}:${string}`;
    const gasPayer = lanes.addresses[0] as `0x${string}`;
    const contractWallets = createContractWalletVerifier(id, token, client, gasPayer);
    const terms = { settleGas: network.settleGas, walletFactories: new Set(walletFactories) };
    return [{ network: id, token, ...terms, client, lanes, contractWallets }];
  });
}

/** What is compared with the books on one network. */
export function toReceiver({ network, client }: EvmParts, payTo: string): AuditedReceiver {
  return {
    scan: createEvmReceipts(network, client, payTo),
    environment: network.environment,
    assetDecimals: network.usdc.decimals,
  };
}

/** The way to pay on one network, as the surfaces offer it. */
export function toOption(
  network: EvmNetwork,
  { evmPayTo, permit2 }: Pick<Config, 'evmPayTo' | 'permit2'>,
): PaymentOption {
  return {
    scheme: 'exact',
    network: network.network,
    networkAlias: network.alias,
    environment: network.environment,
    asset: network.usdc.address,
    assetDecimals: network.usdc.decimals,
    payTo: evmPayTo,
    maxTimeoutSeconds: network.maxTimeoutSeconds,
    extra: { name: network.usdc.name, version: network.usdc.version },
    ...(permit2 !== 'off' && { permit2: { sponsored: permit2 === 'sponsored' } }),
  };
}
