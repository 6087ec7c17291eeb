import type { Config } from '../config/config.ts';
import type { Queryable } from '../db/queryable.ts';
import type { Facilitator } from '../ports/facilitator.ts';
import { createForeignFinish } from '../topups/foreign-finish.ts';
import { createForeignSettlements, type ForeignNetwork } from '../topups/foreign-settlements.ts';
import type { Settlement, SettlementNetwork } from '../topups/settlement.ts';
import type { EvmParts } from './evm.ts';

/** The parts of this gateway as a facilitator for others: every EVM network that it has a key for. */
export function createFacilitatorApiParts(
  config: Config,
  deps: {
    db: Queryable;
    evm: readonly EvmParts[];
    embedded: Facilitator;
    networks: ReadonlyMap<string, SettlementNetwork>;
    settlement: Settlement;
    settleWaitMs: number;
  },
) {
  const { db, embedded, settlement, settleWaitMs } = deps;
  const served = deps.evm.filter(({ lanes }) => lanes !== undefined);
  const networks = new Map(
    served.flatMap(({ network: { network, environment } }): [string, ForeignNetwork][] => {
      const parts = deps.networks.get(network);
      if (!parts) return [];
      return [
        [network, { settlement: parts, environment, facilitator: embedded, ownPayTo: config.evmPayTo }],
      ];
    }),
  );
  const signers = new Set(served.flatMap(({ lanes }) => lanes?.addresses ?? []));
  const finishing = createForeignFinish({
    db,
    facilitatorOf: network => networks.get(network)?.facilitator,
    settlement,
  });
  return {
    /** For the reconciler, also while the routes are off. */
    finishing,
    settlements: createForeignSettlements({ db, networks, finishing, settleWaitMs }),
    tokens: served.map(({ network }) => ({
      network: network.network,
      networkAlias: network.alias,
      asset: network.usdc.address,
    })),
    signers: { 'eip155:*': [...signers] },
  };
}
