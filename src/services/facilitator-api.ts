import type { Config } from '../config/config.ts';
import type { Queryable } from '../db/queryable.ts';
import type { Facilitator } from '../ports/facilitator.ts';
import type { Log } from '../ports/log.ts';
import type { ServedToken } from '../public-api/facilitator-request.ts';
import { createForeignFinality } from '../topups/foreign-finality.ts';
import { createForeignFinish } from '../topups/foreign-finish.ts';
import { createForeignSettlements, type ForeignNetwork } from '../topups/foreign-settlements.ts';
import type { Settlement, SettlementNetwork } from '../topups/settlement.ts';
import type { EvmParts } from './evm.ts';
import type { NetworkData } from './network.ts';
import type { Seams } from './seams.ts';
import type { SvmParts } from './svm.ts';

/** A network that we have a key for, with who settles on it. */
interface Served {
  network: NetworkData & { alias: string };
  facilitator: Facilitator;
  ownPayTo: string;
  signers: readonly string[];
  solana?: ServedToken['solana'];
}

/** The parts of this gateway as a facilitator for others: every network that it has a key for. */
export function createFacilitatorApiParts(
  config: Config,
  deps: {
    db: Queryable;
    evm: readonly EvmParts[];
    svm: readonly SvmParts[];
    /** Settles on every EVM network that we have a key for. */
    embedded: Facilitator;
    networks: ReadonlyMap<string, SettlementNetwork>;
    settlement: Settlement;
    settleWaitMs: number;
    /** When a settled transfer is looked at for the first time, and how long one that is gone may take to come back. */
    finality: { firstCheckMs: number; graceMs: number };
    log: Log;
    seams: Seams;
  },
) {
  const { db, settlement, settleWaitMs, log } = deps;
  const served = [...servedEvm(config, deps.evm, deps.embedded), ...servedSvm(config, deps.svm)];
  const networks = new Map(
    served.flatMap(({ network: { network, environment }, facilitator: plain, ownPayTo }) => {
      const parts = deps.networks.get(network);
      const facilitator = deps.seams.facilitator?.(plain) ?? plain;
      const foreign = parts && { settlement: parts, environment, facilitator, ownPayTo };
      return foreign ? [[network, foreign] satisfies [string, ForeignNetwork]] : [];
    }),
  );
  const facilitatorOf = (network: string) => networks.get(network)?.facilitator;
  const watched = { db, facilitatorOf, settlement, log, ...deps.finality };
  const finishing = createForeignFinish(watched);
  const finality = createForeignFinality(watched);
  return {
    /** For the reconciler and the watch, also while the routes are off. */
    finishing,
    finality,
    settlements: createForeignSettlements({ db, networks, settlement, finishing, finality, settleWaitMs }),
    tokens: served.map(({ network, solana }): ServedToken => {
      const token = { network: network.network, networkAlias: network.alias, asset: network.usdc.address };
      return solana ? { ...token, solana } : token;
    }),
    signers: signersByFamily(served),
  };
}

function servedEvm({ evmPayTo }: Config, evm: readonly EvmParts[], facilitator: Facilitator): Served[] {
  return evm.flatMap(({ network, lanes }) =>
    lanes ? [{ network, facilitator, ownPayTo: evmPayTo, signers: lanes.addresses }] : [],
  );
}

function servedSvm({ svmPayTo }: Config, svm: readonly SvmParts[]): Served[] {
  return svm.flatMap(({ network, embedded, sender }) => {
    if (!embedded || !sender) return [];
    const solana = { tokenProgram: network.usdc.tokenProgram, feePayer: sender.address };
    return [{ network, facilitator: embedded, ownPayTo: svmPayTo, signers: [sender.address], solana }];
  });
}

/** Accounts that sign, as `/supported` lists them: by pattern of the network. */
function signersByFamily(served: readonly Served[]): Record<string, string[]> {
  const families = new Map<string, Set<string>>();
  for (const { network, signers } of served) {
    const family = `${network.network.split(':', 1)[0]}:*`;
    const known = families.get(family) ?? new Set();
    families.set(family, known);
    for (const signer of signers) known.add(signer);
  }
  return Object.fromEntries([...families].map(([family, signers]) => [family, [...signers]]));
}
