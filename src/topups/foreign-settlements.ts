import { asGatewayError } from '../db/pg-errors.ts';
import type { Queryable } from '../db/queryable.ts';
import { GatewayError } from '../lib/errors.ts';
import { newId } from '../lib/ids.ts';
import {
  type ForeignSettlement,
  findForeignSettlement,
  openForeignSettlement,
} from '../payments/foreign-settlement.ts';
import { claimPayment, findClaim } from '../payments/payment-claim.ts';
import { comparePayments } from '../payments/same-payment.ts';
import type { Environment } from '../ports/environment.ts';
import type { Facilitator, VerifyResult } from '../ports/facilitator.ts';
import type { ExactPayment } from '../ports/payment.ts';
import { createForeignDuplicates } from './foreign-duplicates.ts';
import type { ForeignFinality } from './foreign-finality.ts';
import type { ForeignFinish } from './foreign-finish.ts';
import { searchStart } from './search-start.ts';
import type { Settlement, SettlementNetwork } from './settlement.ts';

/** One network on which we settle for others. */
export interface ForeignNetwork {
  settlement: SettlementNetwork;
  environment: Environment;
  facilitator: Facilitator;
  /** Our own receiver: what is paid to it is a top-up and has to come through a dialect. */
  ownPayTo: string;
}

/** What came of settling a payment for another seller. */
export type ForeignOutcome =
  | { kind: 'settled'; transaction: string }
  /** Sent or perhaps sent; nobody knows yet. `undone`: it was settled before, and a reorganisation undid that. */
  | { kind: 'pending'; transaction: string | undefined; undone?: boolean }
  /** Proven: settled for somebody else, as a top-up, or before it was shown to us. */
  | { kind: 'duplicate'; transaction: string }
  /** Nothing was sent. */
  | { kind: 'refused'; reason: string; message: string }
  /** Proven: the money did not move, or not any more. */
  | { kind: 'failed'; reason: string; transaction: string | undefined; undone?: boolean };

export type ForeignVerdict = VerifyResult;

/** This gateway as a facilitator for other sellers. Errors: `unavailable` when nothing was sent. */
export interface ForeignSettlements {
  verify(payment: ExactPayment): Promise<ForeignVerdict>;
  /** The same payment by the same caller gets the same answer, by another one never a success. */
  settle(caller: string, payment: ExactPayment): Promise<ForeignOutcome>;
}

/** A request may spend this long over its own wait before the reconciler may join in. */
const LEASE_MARGIN_MS = 15_000;

/** Settles for others with the same steps as a top-up: verify, claim, store, send, prove; and never credits. */
export function createForeignSettlements(deps: {
  db: Queryable;
  networks: ReadonlyMap<string, ForeignNetwork>;
  settlement: Pick<Settlement, 'look'>;
  finishing: Pick<ForeignFinish, 'finish' | 'lookAgain'>;
  finality: Pick<ForeignFinality, 'check'>;
  settleWaitMs: number;
}): ForeignSettlements & { drained(): Promise<void> } {
  const { db, networks, finishing, finality } = deps;
  const duplicates = createForeignDuplicates({ ...deps, networkOf });
  const running = new Set<Promise<unknown>>();

  function networkOf(payment: ExactPayment): ForeignNetwork {
    const network = networks.get(payment.network);
    if (!network) throw new GatewayError('unsupported_network', `${payment.network} is not served here`);
    return network;
  }

  async function verify(payment: ExactPayment): Promise<ForeignVerdict> {
    const { facilitator, settlement: chainParts, ownPayTo } = networkOf(payment);
    if (payment.payTo === ownPayTo) {
      const message = 'payments to this gateway are top-ups and have to be made through its own routes';
      return { kind: 'invalid', reason: 'invalid_payment_requirements', message };
    }
    await chainParts.ready();
    return facilitator.verify(payment);
  }

  async function settle(caller: string, payment: ExactPayment): Promise<ForeignOutcome> {
    const { facilitator } = networkOf(payment);
    // Only who holds the signature is told about a payment: others could ask for what they have merely seen.
    const signed = await facilitator.verifySignature(payment);
    const known = signed ? await answerKnown(caller, payment) : undefined;
    if (known) return known;
    const verdict = await verify(payment);
    if (verdict.kind === 'valid')
      return (await answerKnown(caller, payment)) ?? accept(caller, payment, verdict.knownAt);
    const { kind, reason } = verdict;
    const mayBeUsed = kind === 'already_used' || verdict.perhapsUsed === true;
    const used = mayBeUsed ? await answerKnown(caller, payment) : undefined;
    if (used) return used;
    if (kind === 'already_used') return duplicates.ofUsed(payment, reason);
    const landed = mayBeUsed ? await duplicates.ofLanded(payment) : undefined;
    return landed ?? { kind: 'refused', reason, message: verdict.message };
  }

  /** The answer to a payment that was shown to this gateway before, here or as a top-up. */
  async function answerKnown(caller: string, payment: ExactPayment): Promise<ForeignOutcome | undefined> {
    const found = await findForeignSettlement(db, payment.identity);
    if (found) {
      const stored = await upToDate(found);
      const isTheirs = stored.caller === caller && comparePayments(payment, stored.signed) !== 'different';
      return isTheirs ? resume(stored) : duplicates.ofOther(payment, stored);
    }
    const claim = await findClaim(db, payment.identity);
    return claim && claim.accountId !== undefined ? duplicates.ofTopup(payment, claim) : undefined;
  }

  async function accept(
    caller: string,
    payment: ExactPayment,
    knownAt: bigint | undefined,
  ): Promise<ForeignOutcome> {
    const { facilitator, environment, settlement: parts } = networkOf(payment);
    await facilitator.checkCapacity(payment.network);
    const fromBlock = await searchStart(parts.chain, payment, knownAt);
    const claim = await claimPayment(db, {
      identity: payment.identity,
      paymentId: newId(),
      accountId: undefined,
      environment,
    });
    if (claim.accountId !== undefined) return duplicates.ofTopup(payment, claim);
    const opened = { paymentId: claim.paymentId, caller, signed: payment, fromBlock };
    const leaseMs = deps.settleWaitMs + LEASE_MARGIN_MS;
    if (!(await openForeignSettlement(db, { ...opened, environment, leaseMs }))) {
      return (await answerKnown(caller, payment)) ?? { kind: 'pending', transaction: undefined };
    }
    return finishing.finish({ ...opened, transaction: undefined, undone: false }, deps.settleWaitMs);
  }

  /** A success that is not final may be true no more, and the watch comes round only now and then. */
  async function upToDate(stored: ForeignSettlement): Promise<ForeignSettlement> {
    const { signed, place, final } = stored;
    if (!place || final) return stored;
    await finality.check({ ...stored, place });
    return (await findForeignSettlement(db, signed.identity)) ?? stored;
  }

  async function resume(stored: ForeignSettlement): Promise<ForeignOutcome> {
    const { state, transaction, reason = 'failed', undone } = stored;
    if (state === 'settled' && transaction !== undefined) return { kind: 'settled', transaction };
    if (state === 'failed')
      return (await finishing.lookAgain(stored)) ?? { kind: 'failed', reason, transaction, undone };
    return finishing.finish(stored, deps.settleWaitMs);
  }

  function track<T>(work: Promise<T>): Promise<T> {
    running.add(work);
    void work.catch(() => undefined).finally(() => running.delete(work));
    return work;
  }

  return {
    verify: payment => verify(payment).catch(rethrow),
    settle: (caller, payment) => track(settle(caller, payment).catch(rethrow)),
    async drained() {
      await Promise.allSettled(running);
    },
  };
}

function rethrow(error: unknown): never {
  throw asGatewayError(error);
}
