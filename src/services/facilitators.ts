import { pathToFileURL } from 'node:url';
import type { Config } from '../config/config.ts';
import { EMBEDDED } from '../config/facilitators.ts';
import type { CreateAuthHeaders } from '../facilitators/facilitator-http.ts';
import { createFacilitatorList } from '../facilitators/facilitator-list.ts';
import { createFacilitatorRegistry, type FacilitatorRegistry } from '../facilitators/registry.ts';
import { createRemoteFacilitator, type RemoteFacilitator } from '../facilitators/remote.ts';
import type { X402Network } from '../facilitators/x402-objects.ts';
import { assert } from '../lib/assert.ts';
import type { Clock } from '../lib/clock.ts';
import type { Facilitator, Facilitators, PaymentChecks } from '../ports/facilitator.ts';
import type { FacilitatorStore } from '../ports/facilitator-store.ts';
import type { Log } from '../ports/log.ts';
import type { Task } from './background.ts';
import type { Seams } from './seams.ts';

/** Below the caller's own patience, so that the chain is looked at before the answer is given. */
const SETTLE_TIMEOUT_MS = 15_000;
/** For calls that only ask. */
const ASK_TIMEOUT_MS = 10_000;
const REFRESH_EVERY_MS = 5_000;
const LEARN_EVERY_MS = 60_000;
/** Nothing is offered on Solana for one that was never heard of, so it is asked again soon, and then in growing pauses. */
const FIRST_RETRY_MS = 1_000;

/** One network as facilitators see it. */
export interface FacilitatorNetwork extends X402Network {
  checks: PaymentChecks;
  /** The facilitator inside this process; absent when it is not in the operator's list. */
  embedded: Facilitator | undefined;
}

/** All facilitators of the configuration. */
export interface FacilitatorParts {
  registry: FacilitatorRegistry;
  /** The facilitators of a network in the operator's order, as one. */
  listFor(network: string): Facilitators;
  /** Reads what is remembered, so that offers can be made before any of them has answered. */
  start(): Promise<void>;
  /** Asks each remote one what it supports; none of them has to answer. */
  learn(): Promise<void>;
  tasks: Task[];
}

export function createFacilitatorParts(
  config: Config,
  networks: readonly FacilitatorNetwork[],
  deps: { store: FacilitatorStore; log: Log; clock: Clock; seams: Seams },
): FacilitatorParts {
  const { store, log, clock, seams } = deps;
  const registry = createFacilitatorRegistry({ store, clock, log });
  const remotes = new Map<string, Map<string, RemoteFacilitator>>();
  const names = config.facilitators.filter(name => name !== EMBEDDED);

  /** One for each kind of payment, because the checks that need no outside call differ. */
  function remoteFor(name: string, network: FacilitatorNetwork): RemoteFacilitator {
    const byNetwork = remotes.get(name) ?? new Map<string, RemoteFacilitator>();
    remotes.set(name, byNetwork);
    const known = byNetwork.get(network.network);
    if (known) return known;
    const remote = createRemoteFacilitator({
      address: {
        url: name,
        headers: config.facilitatorHeaders[name] ?? {},
        ...authModule(config.facilitatorAuth[name]),
      },
      networks: [network],
      checks: network.checks,
      registry,
      publicOrigin: config.publicOrigin,
      clock,
      settleTimeoutMs: seams.settleTimeoutMs ?? SETTLE_TIMEOUT_MS,
      askTimeoutMs: seams.facilitatorAskTimeoutMs ?? ASK_TIMEOUT_MS,
    });
    byNetwork.set(network.network, remote);
    return remote;
  }

  const lists = new Map(
    networks.map(network => {
      const members = config.facilitators
        .map(name => (name === EMBEDDED ? network.embedded : remoteFor(name, network)))
        .filter(member => member !== undefined)
        .map(member => seams.facilitator?.(member) ?? member);
      return [
        network.network,
        createFacilitatorList({ members, checks: network.checks, registry, log }),
      ] as const;
    }),
  );

  let learning: Promise<void> | undefined;

  /** One question per facilitator, however many networks it serves and however many ask at once. */
  function learn(): Promise<void> {
    learning ??= ask(names).finally(() => {
      learning = undefined;
    });
    return learning;
  }

  const isUnknown = (name: string) => registry.supportedBy(name) === undefined;
  let askedAllAtMs = Number.NEGATIVE_INFINITY;
  let retryMs = FIRST_RETRY_MS;

  /** Asks all of them once a minute, and only those that have never answered in between. */
  async function learnRound(): Promise<void> {
    if (performance.now() - askedAllAtMs < LEARN_EVERY_MS) return ask(names.filter(isUnknown));
    askedAllAtMs = performance.now();
    await learn();
  }

  function learnPauseMs(): number {
    const pauseMs = names.some(isUnknown) ? retryMs : LEARN_EVERY_MS;
    retryMs = Math.min(2 * pauseMs, LEARN_EVERY_MS);
    return pauseMs;
  }

  async function ask(asked: readonly string[]): Promise<void> {
    await Promise.all(
      asked.map(async name => {
        const [remote] = remotes.get(name)?.values() ?? [];
        const problem = await remote?.learn();
        registry.noteSilence(name, problem);
        if (problem)
          log.warn({ facilitator: name, problem }, 'what the facilitator supports is not known anew');
      }),
    );
  }

  return {
    registry,
    listFor(network) {
      const list = lists.get(network);
      assert(list, 'every network has its facilitators');
      return list;
    },
    async start() {
      await registry.refresh();
    },
    learn,
    tasks:
      names.length === 0
        ? []
        : [
            {
              everyMs: REFRESH_EVERY_MS,
              problem: 'the facilitators that other replicas gave up could not be read',
              round: () => registry.refresh(),
            },
            { everyMs: learnPauseMs, problem: 'facilitators could not be asked', round: learnRound },
          ],
  };
}

/**
 * A module of the operator's that makes the headers of a call, such as the tokens of Coinbase's facilitator,
 * which are good for one request. It is loaded at the first call.
 */
function authModule(file: string | undefined): { createAuthHeaders?: CreateAuthHeaders } {
  if (file === undefined) return {};
  return {
    async createAuthHeaders() {
      const module = (await import(pathToFileURL(file).href)) as { createAuthHeaders?: CreateAuthHeaders };
      if (typeof module.createAuthHeaders !== 'function') throw new Error('no export createAuthHeaders');
      return module.createAuthHeaders();
    },
  };
}
