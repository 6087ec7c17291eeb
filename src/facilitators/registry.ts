import type { Clock } from '../lib/clock.ts';
import type { Distrust, Doubt, FacilitatorStore } from '../ports/facilitator-store.ts';
import type { Log } from '../ports/log.ts';
import { readSupported, type Supported } from './facilitator-answers.ts';

/** What this process knows about the facilitators, kept in step with the database that all replicas share. */
export interface FacilitatorRegistry {
  /** The mark of one that claimed a settlement that the chain disproves. */
  distrustOf(name: string): Distrust | undefined;
  /** The payment for which it gets no new ones at present: it said that it settled it, and the chain shows nothing. */
  doubtOf(name: string): Doubt | undefined;
  /** Takes it out of use here at once, and in the other replicas at their next refresh. */
  distrust(name: string, mark: { paymentId: string; reason: string }): Promise<void>;
  /** Its last answer to `/supported`; undefined when there is none that is young enough to be believed. */
  supportedBy(name: string): Supported | undefined;
  saveSupported(name: string, supported: Supported): Promise<void>;
  /** Why it did not say what it supports when it was asked last; undefined when it did. */
  silenceOf(name: string): string | undefined;
  noteSilence(name: string, problem: string | undefined): void;
  /** Reads what other replicas have learned. */
  refresh(): Promise<void>;
}

/**
 * Offers are made from an answer this old while the facilitator is down. Beyond it the facilitator is not
 * offered: on Solana the answer names the account that pays the fee, and such accounts are changed some time.
 */
const SUPPORTED_MAX_AGE_MS = 86_400_000;

export function createFacilitatorRegistry(deps: {
  store: FacilitatorStore;
  clock: Clock;
  log: Log;
}): FacilitatorRegistry {
  const { store, clock, log } = deps;
  const distrusted = new Map<string, Distrust>();
  let doubts: ReadonlyMap<string, Doubt> = new Map();
  const supported = new Map<string, { answer: Supported; atMs: number }>();
  const silences = new Map<string, string | undefined>();

  return {
    distrustOf: name => distrusted.get(name),
    doubtOf: name => doubts.get(name),
    async distrust(name, mark) {
      const here = { ...mark, since: new Date(clock.nowMs()) };
      distrusted.set(name, here);
      log.error(
        { facilitator: name, ...mark },
        'ALARM: the facilitator said that it settled a payment, and the chain proves that it did not; it is not used any more',
      );
      await store.distrust(name, mark);
      // A refresh that had read before the mark was stored has taken it away again.
      distrusted.set(name, here);
    },
    supportedBy(name) {
      const known = supported.get(name);
      return known && clock.nowMs() - known.atMs <= SUPPORTED_MAX_AGE_MS ? known.answer : undefined;
    },
    async saveSupported(name, answer) {
      supported.set(name, { answer, atMs: clock.nowMs() });
      await store.saveSupported(name, answer);
    },
    silenceOf: name => silences.get(name),
    noteSilence(name, problem) {
      silences.set(name, problem);
    },
    async refresh() {
      const [stored, doubted] = await Promise.all([store.list(), store.listDoubts()]);
      for (const { name, paymentId } of doubted) {
        if (doubts.get(name)?.paymentId === paymentId) continue;
        log.warn(
          { facilitator: name, paymentId },
          'the facilitator said that it settled a payment of which the chain shows nothing: it gets no new ones meanwhile',
        );
      }
      doubts = new Map(doubted.map(doubt => [doubt.name, doubt]));
      distrusted.clear();
      for (const { name, distrust, supported: answer, supportedAt } of stored) {
        if (distrust) distrusted.set(name, distrust);
        const atMs = supportedAt?.getTime() ?? 0;
        const read = atMs > (supported.get(name)?.atMs ?? 0) ? readSupported(answer) : undefined;
        if (read) supported.set(name, { answer: read, atMs });
      }
    },
  };
}
