import { type EvmNetwork, findEvmNetwork } from '../chains/evm-networks.ts';
import { findSvmNetwork, type SvmNetwork } from '../chains/svm-networks.ts';
import { createTrustingChain } from '../chains/trusting-chain.ts';
import { type Config, hasNode } from '../config/config.ts';
import { createEvmChecks } from '../facilitators/evm-checks.ts';
import { svmChecks } from '../facilitators/svm-checks.ts';
import type { ReadinessCheck } from '../http/health.ts';
import type { Clock } from '../lib/clock.ts';
import { associatedTokenAccount } from '../lib/svm-address.ts';
import type { Chain } from '../ports/chain.ts';
import type { Facilitators } from '../ports/facilitator.ts';
import type { PaymentOption } from '../topups/types.ts';
import { tokenOf, toOption } from './evm.ts';
import type { FacilitatorNetwork } from './facilitators.ts';
import type { NetworkData } from './network.ts';
import { toSvmOption } from './svm.ts';

/** A network without a node of ours: what facilitators say about it is all that is known. */
export interface TrustedParts {
  network: NetworkData;
  chain: Chain;
  /** Nobody of ours signs there. */
  sender: undefined;
  blockTimeMs: number;
  facilitatorNetwork: FacilitatorNetwork;
  option(facilitators: Facilitators): PaymentOption;
}

/** The networks of the configuration that have a node, which every other part is made for. */
export function withNodes(config: Config): Config {
  return { ...config, networks: config.networks.filter(network => hasNode(config, network)) };
}

/** The networks that have none; there are such only with TRUST_FACILITATOR. */
export function createTrustedParts(config: Config, clock: Clock): TrustedParts[] {
  if (!config.trustFacilitator) return [];
  const without = config.networks.filter(network => !hasNode(config, network));
  return without.flatMap(id => {
    const [evm, svm] = [findEvmNetwork(id), findSvmNetwork(id)];
    if (evm) return [onEvm(evm, config, clock)];
    return svm ? [onSolana(svm, config)] : [];
  });
}

function onEvm(network: EvmNetwork, config: Config, clock: Clock): TrustedParts {
  const { network: id, alias, maxTimeoutSeconds, usdc, blockTimeMs } = network;
  const checks = createEvmChecks([{ network: id, token: tokenOf(network) }], clock);
  return {
    network,
    chain: createTrustingChain(id),
    sender: undefined,
    blockTimeMs,
    facilitatorNetwork: { network: id, alias, maxTimeoutSeconds, domain: usdc, checks, embedded: undefined },
    option: () => toOption(network, config),
  };
}

function onSolana(network: SvmNetwork, { svmPayTo: payTo }: Config): TrustedParts {
  const { network: id, alias, maxTimeoutSeconds, usdc, slotMs } = network;
  const tokenAccount = associatedTokenAccount(payTo, usdc.address, usdc.tokenProgram);
  return {
    network,
    chain: createTrustingChain(id),
    sender: undefined,
    blockTimeMs: slotMs,
    facilitatorNetwork: { network: id, alias, maxTimeoutSeconds, checks: svmChecks, embedded: undefined },
    option: facilitators => toSvmOption({ network, receiver: { payTo, tokenAccount } }, facilitators),
  };
}

/** Says at start and in `/readyz` what the setting means here. */
export function trustCheck({ trustFacilitator }: Config, trusted: readonly TrustedParts[]): ReadinessCheck[] {
  if (!trustFacilitator) return [];
  const names = trusted.map(({ network }) => network.title).join(', ');
  const note =
    names === ''
      ? 'TRUST_FACILITATOR is on and changes nothing: every network has a node, and the chain decides'
      : `TRUST_FACILITATOR: on ${names} money is credited on the word of the facilitators; nothing is read from the chain`;
  return [{ name: 'trust', run: () => Promise.resolve([]), notes: () => Promise.resolve([note]) }];
}
