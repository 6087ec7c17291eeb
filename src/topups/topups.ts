import { type Customer, walletIdentity } from '../customers/customers.ts';
import { asGatewayError, changedNothing, isConnectionLoss } from '../db/pg-errors.ts';
import type { Queryable } from '../db/queryable.ts';
import { GatewayError, unavailable } from '../lib/errors.ts';
import { newId } from '../lib/ids.ts';
import { createRecentNames } from '../lib/recent-names.ts';
import { type Purpose, REFUSED } from '../payments/payment.ts';
import { claimPayment, type PaymentClaim } from '../payments/payment-claim.ts';
import type { Opening } from '../payments/payment-opening.ts';
import type { PaymentStatements } from '../payments/payment-statements.ts';
import { findPayment, moveToFacilitator } from '../payments/payment-store.ts';
import type { RoutedVerifyResult, SettleResult } from '../ports/facilitator.ts';
import { type ExactPayment, isSentByPayer } from '../ports/payment.ts';
import { isArriving, lookForUse } from './look-for-use.ts';
import { createOwners } from './owners.ts';
import { createRepetitions, inProgress, SETTLED_BY_OTHERS } from './repetition.ts';
import { searchStart } from './search-start.ts';
import {
  addTo,
  claimed,
  type OpenPayment,
  RETRY_AFTER_SECONDS,
  type Settlement,
  type SettlementNetwork,
} from './settlement.ts';
import type { TopupOutcome, TopupRequest, Topups } from './types.ts';

export interface TopupDeps {
  db: Queryable;
  statements: PaymentStatements;
  networks: ReadonlyMap<string, SettlementNetwork>;
  settlement: Settlement;
  /** How long a request waits for the chain before it answers that the outcome is not known yet. */
  settleWaitMs: number;
}

/** Each reverted payment costs us gas, and a wallet can make its payments revert at will. */
const BUDGET = { maxReverted: 3, windowMs: 600_000 };

const OVER_BUDGET: TopupOutcome = {
  kind: 'refused',
  reason: 'invalid_transaction_state',
  message: 'the last payments of this wallet were reverted on chain: try again in ten minutes',
};

/** Payments that this process knows it was shown; what it forgets is verified once more than it need be. */
const MAX_REMEMBERED = 10_000;

/** A request may spend this long over its own wait before the reconciler may join in. */
const LEASE_MARGIN_MS = 15_000;

/**
 * The life of a payment inside one request: verify, claim, store as settling, send, prove, credit. The order
 * is the point: everything that could refuse comes before the claim, the claim and the state are committed
 * before anything is sent, and after that the answer is only ever what the chain says.
 */
export function createTopups(deps: TopupDeps): Topups & { drained(): Promise<void> } {
  const { db, statements, networks, settlement } = deps;
  const owners = createOwners(db);
  const { ownerOf, payerOf, claimantOf } = owners;
  const repetitions = createRepetitions({ db, statements, networks, settlement, owners });
  const wasShown = createRecentNames(MAX_REMEMBERED);
  const running = new Set<Promise<unknown>>();

  async function topUp(request: TopupRequest): Promise<TopupOutcome> {
    const { payment } = request;
    const network = networks.get(payment.network);
    if (!network) throw new GatewayError('unsupported_network', `${payment.network} is not accepted here`);
    try {
      // What was signed by a key can be told apart from a forgery here and now, and a repetition answered from
      // the database, whatever the node does.
      const signed = await network.facilitators.verifySignature(payment);
      const looking = signed ? repetitions.answer(request) : undefined;
      // Nearly every payment is new, and is verified in the meantime. Who asks again and again costs the node nothing.
      const isRepeated = signed && wasShown(payment.identity);
      const verifying = isRepeated ? undefined : verify(payment, network);
      verifying?.catch(() => undefined);
      const repeated = await looking;
      if (repeated) return repeated;
      const verdict = await (verifying ?? verify(payment, network));
      if (verdict.kind === 'valid') {
        const fromBlock = await searchStart(network.chain, payment, verdict.knownAt);
        return await accept(request, network, { facilitator: verdict.facilitator, fromBlock });
      }
      // Used by ourselves in the meantime, perhaps. And a contract wallet may judge its signature differently now than
      // when it was accepted.
      const mayBeUsed = verdict.kind === 'already_used' || verdict.perhapsUsed === true;
      const known = signed && !mayBeUsed ? undefined : await repetitions.answer(request);
      if (known) return known;
      if (verdict.kind === 'already_used') return await acceptUsed(request, network, verdict.reason);
      const landed = mayBeUsed ? await acceptLanded(request, network) : undefined;
      return landed ?? { kind: 'refused', reason: verdict.reason, message: verdict.message };
    } catch (error) {
      throw asGatewayError(error);
    }
  }

  async function verify(payment: ExactPayment, network: SettlementNetwork): Promise<RoutedVerifyResult> {
    await network.ready();
    return network.facilitators.verify(payment);
  }

  /**
   * The permission is consumed on chain, and not by us. Only when the chain shows that its money came to our
   * receiver is there something to accept; everything else is refused without a trace.
   */
  async function acceptUsed(
    request: TopupRequest,
    network: SettlementNetwork,
    reason: string,
  ): Promise<TopupOutcome> {
    const { proof, fromBlock } = await lookForUse(request.payment, network);
    if (proof.kind === 'transferred') return acceptPublic(request, network, fromBlock);
    // One node says that it is used, and the next, which lags behind, that it is not: its money may be with us.
    const isUnseen = proof.kind === 'unknown' && !proof.used;
    if (isUnseen || isArriving(request.payment, proof)) throw unavailable('a node that has seen the payment');
    const found = proof.kind === 'impossible' ? proof.reason : 'its money was not found here';
    return {
      kind: 'refused',
      reason,
      message: `the payment is spent already (${found.replaceAll('_', ' ')})`,
    };
  }

  /**
   * It is to be refused for a reason that is also given for what somebody else has sent already.
   * @returns undefined when its money was not found
   */
  async function acceptLanded(
    request: TopupRequest,
    network: SettlementNetwork,
  ): Promise<TopupOutcome | undefined> {
    const { proof, fromBlock } = await lookForUse(request.payment, network);
    if (proof.kind === 'transferred') return acceptPublic(request, network, fromBlock);
    if (isArriving(request.payment, proof)) throw unavailable('a node that can tell about the payment');
    return undefined;
  }

  /**
   * What was on the chain before it was shown to us is public, signature and all, and says nothing about who shows
   * it. The money is not refused: it is plain credit of the wallet that paid, whoever presents it for whatever purchase,
   * or else of who claimed it while it was a secret.
   */
  async function acceptPublic(
    request: TopupRequest,
    network: SettlementNetwork,
    fromBlock: bigint,
  ): Promise<TopupOutcome> {
    const { payment, environment, source } = request;
    const customer = (await claimantOf(request)) ?? (await payerOf(request));
    const plain: TopupRequest = { payment, environment, source, customer };
    const outcome = await accept(plain, network, { facilitator: SETTLED_BY_OTHERS, fromBlock });
    const isTheirs = request.customer === undefined || request.customer.accountId === customer.accountId;
    if (outcome.kind !== 'credited' || isTheirs) return outcome;
    return { kind: 'conflict', settled: true, isOfPayer: true };
  }

  /**
   * Who is credited, unless it is the paying wallet's own customer, and what is bought. What the rules forbid is not
   * refused to a payer who has sent the money: it is credit then, and the operator is told.
   */
  async function prepare(
    request: TopupRequest,
  ): Promise<{ customer: Customer | undefined; purpose: Purpose | undefined }> {
    const { payment, purchase, customer: caller } = request;
    if (!purchase) return { customer: caller, purpose: undefined };
    try {
      return await purchase.prepare();
    } catch (error) {
      if (!isSentByPayer(payment) || !isRefusal(error)) throw error;
      const customer = await (purchase.creditor?.() ?? ownerOf(request));
      return { customer, purpose: { kind: REFUSED, terms: purchase.terms, reason: error.message } };
    }
  }

  async function accept(
    request: TopupRequest,
    network: SettlementNetwork,
    { facilitator, fromBlock }: Pick<OpenPayment, 'facilitator' | 'fromBlock'>,
  ): Promise<TopupOutcome> {
    const { payment, environment } = request;
    const isUsed = facilitator === SETTLED_BY_OTHERS;
    const { customer, purpose } = await prepare(request);
    const claim = await claimFor(request, customer);
    const open: OpenPayment = {
      paymentId: claim.paymentId,
      accountId: claim.owner,
      cell: claim.cell,
      environment,
      signed: payment,
      purpose,
      fromBlock,
      facilitator,
      saidSettled: false,
      doubt: undefined,
    };
    if (!claim.claimed) {
      const stored = await findPayment(db, claim.cell, claim.paymentId);
      if (stored) return await repetitions.answerStored(request, claim, stored);
      // The process that claimed it died before it stored the payment: nothing was sent, so go on from here.
      if (claim.accountId !== claim.owner) return { kind: 'conflict', settled: false };
    }
    const opening = await store(request, open);
    if (opening === 'unknown') return pending(claim.paymentId);
    if (opening === 'exists') return inProgress(claim.paymentId);
    // The claim stays, as all do: whoever has seen it may be storing the payment, and without it that could be paid twice.
    if (opening === 'over_budget') return OVER_BUDGET;
    return await settle(open, network, isUsed);
  }

  /** Claims the payment for a customer, or for the paying wallet's own. @returns also that customer's account */
  async function claimFor(
    { payment: { identity, network, payer }, environment }: TopupRequest,
    customer: Customer | undefined,
  ): Promise<PaymentClaim & { owner: bigint }> {
    const claim = { identity, environment, paymentId: newId() };
    if (!customer) return statements.claimForWallet({ ...claim, wallet: walletIdentity(network, payer) });
    return { ...(await claimPayment(db, { ...customer, ...claim })), owner: customer.accountId };
  }

  /**
   * Commits the payment in state settling. When the database is lost in between, it may be there, and then the
   * reconciler goes on with it: the caller must not be told that nothing happened.
   */
  async function store({ source }: TopupRequest, open: OpenPayment): Promise<Opening | 'unknown'> {
    const costsUs = open.facilitator !== SETTLED_BY_OTHERS && !isSentByPayer(open.signed);
    try {
      return await statements.open(open.cell, {
        ...open,
        source,
        leaseMs: deps.settleWaitMs + LEASE_MARGIN_MS,
        budget: costsUs ? BUDGET : undefined,
      });
    } catch (error) {
      if (isConnectionLoss(error) && !changedNothing(error)) return 'unknown';
      throw error;
    }
  }

  /** From here on money may move: nothing throws, and a caller that hangs up changes nothing. */
  async function settle(open: OpenPayment, network: SettlementNetwork, used: boolean): Promise<TopupOutcome> {
    if (used) return settlement.conclude(open, { transactions: [] }, deps.settleWaitMs);
    const { facilitator, result } = await submit(open, network);
    const payment = claimed({ ...open, facilitator }, result);
    return settlement.conclude(payment, addTo({ transactions: [] }, result), deps.settleWaitMs);
  }

  /**
   * Submits through the payment's facilitator, and through the next one only when the call provably sent
   * nothing. This is the payment's first submission, so no earlier call can have sent it either; the reconciler,
   * which cannot know that, stays with the facilitator that is stored.
   */
  async function submit(
    open: OpenPayment,
    { facilitators }: SettlementNetwork,
  ): Promise<{ facilitator: string; result: SettleResult }> {
    const { paymentId, cell, signed } = open;
    let { facilitator } = open;
    for (;;) {
      const result = await facilitators.settle(facilitator, paymentId, signed);
      const next = result.kind === 'not_submitted' ? facilitators.nextAfter(facilitator, signed) : undefined;
      if (next === undefined) return { facilitator, result };
      // Stored before it is asked, so that nobody ever repeats the payment to the one that was given up.
      const move = { from: facilitator, to: next };
      const moved = await moveToFacilitator(db, cell, paymentId, move).catch(() => false);
      if (!moved) return { facilitator, result };
      facilitator = next;
    }
  }

  function track<T>(work: Promise<T>): Promise<T> {
    running.add(work);
    void work.catch(() => undefined).finally(() => running.delete(work));
    return work;
  }

  return {
    topUp: request => track(topUp(request)),
    async drained() {
      await Promise.allSettled(running);
    },
  };
}

/** Whether the rules said no, and not a part that is down. */
function isRefusal(error: unknown): error is GatewayError {
  return error instanceof GatewayError && error.code !== 'unavailable' && error.code !== 'internal';
}

function pending(paymentId: string): TopupOutcome {
  return { kind: 'pending', paymentId, transaction: undefined, retryAfterSeconds: RETRY_AFTER_SECONDS };
}
