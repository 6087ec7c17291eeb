import type { Queryable } from '../db/queryable.ts';
import { unavailable } from '../lib/errors.ts';
import type { ForeignSettlement } from '../payments/foreign-settlement.ts';
import { isOpen } from '../payments/payment.ts';
import type { PaymentClaim } from '../payments/payment-claim.ts';
import { findPayment } from '../payments/payment-store.ts';
import { comparePayments } from '../payments/same-payment.ts';
import type { OwnTransactions } from '../ports/facilitator.ts';
import type { ExactPayment } from '../ports/payment.ts';
import { type ForeignFinish, ofPayment } from './foreign-finish.ts';
import type { ForeignNetwork, ForeignOutcome } from './foreign-settlements.ts';
import { isArriving } from './look-for-use.ts';
import { NAME_IN_USE } from './repetition.ts';
import { CONFIRMING, type Look, type Settlement } from './settlement.ts';

/**
 * What a caller is told about a payment that is not theirs to settle: it is another caller's, a top-up of this gateway, or was
 * sent by somebody else. Never a success, and nothing is sent: `duplicate` with its transaction once its transfer is proven,
 * `pending` while that is open, `failed` when it is proven that it did not move.
 */
export function createForeignDuplicates(deps: {
  db: Queryable;
  networkOf(payment: ExactPayment): ForeignNetwork;
  settlement: Pick<Settlement, 'look'>;
  finishing: Pick<ForeignFinish, 'lookAgain'>;
}) {
  const { db, networkOf, finishing } = deps;

  /** Settled, or being settled, for another caller. */
  async function ofOther(payment: ExactPayment, stored: ForeignSettlement): Promise<ForeignOutcome> {
    const { state, signed, paymentId, undone, reason = 'failed' } = stored;
    if (isAnother(payment, signed)) return ofSameName(payment, state === 'failed');
    if (state === 'settled' && stored.transaction !== undefined)
      return { kind: 'duplicate', transaction: stored.transaction };
    if (state === 'failed') {
      const found = await finishing.lookAgain(stored);
      if (found?.kind === 'settled') return { kind: 'duplicate', transaction: found.transaction };
      return found ?? { kind: 'failed', reason, transaction: stored.transaction, undone };
    }
    const own = await networkOf(payment).facilitator.transactionsOf(paymentId, payment.network);
    return { kind: 'pending', transaction: newestOf(stored, own), undone };
  }

  /** Claimed for an account of this gateway. */
  async function ofTopup(payment: ExactPayment, claim: PaymentClaim): Promise<ForeignOutcome> {
    const stored = await findPayment(db, claim.cell, claim.paymentId);
    // It is about to be stored, or never was: the chain tells when there is nothing to wait for.
    if (!stored) return ofClaim(payment);
    const { signed, state, transaction, reason = 'failed', fromBlock, facilitator, paymentId } = stored;
    if (isAnother(payment, signed)) return ofSameName(payment, state === 'failed');
    if (state === 'credited' && transaction !== undefined) return { kind: 'duplicate', transaction };
    if (isOpen(stored)) {
      const { facilitators } = networkOf(payment).settlement;
      const own = await facilitators.transactionsOf(facilitator, paymentId, payment.network);
      return { kind: 'pending', transaction: newestOf(stored, own) };
    }
    const found = await look(payment, fromBlock);
    return whereItIs(found) ?? { kind: 'failed', reason, transaction };
  }

  async function ofClaim(payment: ExactPayment): Promise<ForeignOutcome> {
    const found = await look(payment);
    if (found.kind !== 'impossible') return whereItIs(found) ?? { kind: 'pending', transaction: undefined };
    return { kind: 'failed', reason: found.reason, transaction: found.transaction };
  }

  /**
   * The payer has signed two permissions of one name, and at most one of them can be used. What is known here is the other
   * one, so only the chain tells about this one; it is not refused while that other one may still move.
   */
  async function ofSameName(payment: ExactPayment, isOtherOver: boolean): Promise<ForeignOutcome> {
    const found = await look(payment);
    const place = whereItIs(found);
    if (place) return place;
    if (found.kind !== 'impossible' && !isOtherOver) return { kind: 'pending', transaction: undefined };
    const message = 'the name of this payment belongs to another one that was shown here before';
    return { kind: 'refused', reason: NAME_IN_USE[payment.kind], message };
  }

  /** The permission is consumed, and not by us: the chain tells whether that was this payment. */
  async function ofUsed(payment: ExactPayment, reason: string): Promise<ForeignOutcome> {
    const found = await look(payment);
    if (found.kind !== 'impossible') return whereItIs(found) ?? { kind: 'pending', transaction: undefined };
    return { kind: 'refused', reason, message: `the payment is spent already (${found.reason})` };
  }

  /** It is to be refused for a reason that is also given for what somebody else has sent already. */
  async function ofLanded(payment: ExactPayment): Promise<ForeignOutcome | undefined> {
    const found = await look(payment);
    return found.kind === 'unknown' && !isArriving(payment, found) ? undefined : whereItIs(found);
  }

  /**
   * One look at the chain for a transfer by whatever transaction, as deep as its amount demands.
   * @throws GatewayError `unavailable` when the node does not answer
   */
  async function look(payment: ExactPayment, fromBlock?: bigint): Promise<Look> {
    const { settlement: network } = networkOf(payment);
    const { chain } = network;
    const start = fromBlock ?? chain.earliestSettlementBlock(await chain.currentBlock());
    const looked = { paymentId: payment.identity, signed: payment, fromBlock: start };
    const hint = { transactions: [], fromBlock: start };
    const found = ofPayment(payment, await deps.settlement.look(network, looked, hint));
    if (!found) throw unavailable('the chain that can tell about this payment');
    return found;
  }

  return { ofOther, ofTopup, ofUsed, ofLanded };
}

function isAnother(presented: ExactPayment, stored: ExactPayment): boolean {
  return comparePayments(presented, stored) === 'different';
}

/** @returns undefined when the chain does not show that the permission was used for this payment, or may have been */
function whereItIs(found: Look): ForeignOutcome | undefined {
  if (found.kind === 'transferred') return { kind: 'duplicate', transaction: found.transfer.transaction };
  if (found.kind === 'confirming') return { kind: 'pending', transaction: found.transfer.transaction };
  if (found.kind === 'unknown' && found.used) return { kind: 'pending', transaction: found.transaction };
  return undefined;
}

/** Where its transfer is, or else what was sent last; undefined while nothing is known to have been sent. */
function newestOf(
  { reason, transaction }: { reason: string | undefined; transaction: string | undefined },
  { live }: OwnTransactions,
): string | undefined {
  return reason === CONFIRMING ? transaction : (live[0] ?? transaction);
}
