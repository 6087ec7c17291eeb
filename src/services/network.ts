import { findEvmNetwork } from '../chains/evm-networks.ts';
import { findSvmNetwork } from '../chains/svm-networks.ts';
import { findTempoNetwork } from '../chains/tempo-networks.ts';
import type { Config } from '../config/config.ts';
import { ConfigError } from '../config/read.ts';
import { receiptsContra } from '../ledger/chart.ts';
import { assert } from '../lib/assert.ts';
import type { DepthRule } from '../lib/confirmations.ts';
import { unavailable } from '../lib/errors.ts';
import type { Chain } from '../ports/chain.ts';
import type { Environment } from '../ports/environment.ts';
import type { Facilitators } from '../ports/facilitator.ts';
import type { SettlementNetwork } from '../topups/settlement.ts';

/** What every network's row of data says, whatever kind of chain it is. */
export interface NetworkData {
  /** CAIP-2. */
  network: string;
  title: string;
  environment: Environment;
  usdc: { address: string; decimals: number };
  confirmations: readonly DepthRule[];
}

/** @throws ConfigError for networks that no table knows */
export function requireKnownNetworks({ networks }: Config): void {
  const unknown = networks.filter(id => !findNetwork(id));
  if (unknown.length > 0)
    throw new ConfigError(unknown.map(id => `NETWORKS: ${id} is not supported by this version`));
}

function findNetwork(id: string) {
  return findEvmNetwork(id) ?? findSvmNetwork(id) ?? findTempoNetwork(id);
}

/** Which money a network carries. */
export function environmentOf(network: string): Environment {
  return findNetwork(network)?.environment ?? 'live';
}

/** What the payment's life needs of one network. */
export function createSettlementNetwork(
  { network, chain, blockTimeMs }: { network: NetworkData; chain: Chain; blockTimeMs: number },
  config: Config,
  facilitators: Facilitators,
): SettlementNetwork {
  const contra = receiptsContra(network.network);
  assert(contra !== undefined, `${network.network} has a code in the chart of accounts`);
  let checked = false;
  return {
    chain,
    facilitators,
    async ready() {
      if (checked) return;
      const [problem] = await chain.checkSetup();
      if (problem) throw unavailable(network.title, new Error(problem));
      checked = true;
    },
    assetDecimals: network.usdc.decimals,
    confirmations: config.confirmations[network.network] ?? network.confirmations,
    pollMs: Math.min(blockTimeMs / 4, 500),
    contra,
  };
}
