import { createTempoChain } from '../chains/tempo-chain.ts';
import { createTempoClient } from '../chains/tempo-client.ts';
import { findTempoNetwork, type TempoNetwork } from '../chains/tempo-networks.ts';
import { createTempoReceipts } from '../chains/tempo-receipts.ts';
import type { Config } from '../config/config.ts';
import { createTempoFacilitators } from '../facilitators/tempo.ts';
import type { Clock } from '../lib/clock.ts';
import type { Chain } from '../ports/chain.ts';
import { createMpp, type MppProtocol, type MppRail } from '../protocols/mpp.ts';
import type { AuditedReceiver } from '../topups/receipt-audit.ts';
import type { SettlementNetwork } from '../topups/settlement.ts';
import { createSettlementNetwork } from './network.ts';
import type { Seams } from './seams.ts';

const RPC_TIMEOUT_MS = 8_000;

/** The MPP rail: one Tempo network with its protocol and its proofs. */
export interface TempoParts {
  network: TempoNetwork;
  chain: Chain;
  settlement: SettlementNetwork;
  protocol: MppProtocol;
  /** What is compared with the books. */
  receiver: AuditedReceiver;
}

/** The Tempo network of the configuration; undefined when it names none. */
export function createTempoParts(
  config: Config,
  { clock, seams }: { clock: Clock; seams: Seams },
): TempoParts | undefined {
  const [network] = config.networks.map(findTempoNetwork).filter(each => each !== undefined);
  if (!network || !config.mppSecretKey) return undefined;
  const { chainId, title, usdc: token } = network;
  const rpcUrl = config.rpcUrls.TEMPO_RPC_URL;
  const plain = createTempoClient({ network: network.network, title, rpcUrl, timeoutMs: RPC_TIMEOUT_MS });
  const client = { ...(seams.evmClient?.(plain) ?? plain), sender: plain.sender };
  const real = createTempoChain(network, client);
  const chain = seams.chain?.(real) ?? real;
  const terms = {
    chainId,
    client,
    secretKey: config.mppSecretKey,
    realm: new URL(config.publicOrigin).hostname,
    currency: token.address,
    recipient: config.tempoPayTo,
  };
  const facilitators = createTempoFacilitators({ ...terms, title, rpcUrl, timeoutMs: RPC_TIMEOUT_MS, clock });
  return {
    network,
    chain,
    settlement: createSettlementNetwork(
      { network, chain, blockTimeMs: network.blockTimeMs },
      config,
      facilitators,
    ),
    protocol: createMpp(terms, () => clock.nowMs()),
    receiver: {
      scan: createTempoReceipts(network, client, config.tempoPayTo),
      environment: network.environment,
      assetDecimals: token.decimals,
    },
  };
}

/** The rail as the surfaces offer it. */
export function toMppRail({ network, protocol }: TempoParts): MppRail {
  const { environment, usdc: token } = network;
  return {
    protocol,
    environment,
    network: network.network,
    currency: token.address,
    decimals: token.decimals,
  };
}
