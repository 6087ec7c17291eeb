import type { CellName, Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import { unavailable } from '../lib/errors.ts';
import { isOpen, type Payment } from '../payments/payment.ts';
import type { PaymentClaim } from '../payments/payment-claim.ts';
import type { PaymentStatements } from '../payments/payment-statements.ts';
import { findPayment } from '../payments/payment-store.ts';
import { comparePayments } from '../payments/same-payment.ts';
import type { ExactPayment, PaymentKind } from '../ports/payment.ts';
import type { Owners } from './owners.ts';
import {
  type OpenPayment,
  RETRY_AFTER_SECONDS,
  type Settlement,
  type SettlementNetwork,
} from './settlement.ts';
import type { TopupOutcome, TopupRequest } from './types.ts';

/** The x402 code for a payment whose identity is that of another one, which differs in what was signed or by whom. */
export const NAME_IN_USE = {
  eip3009: 'invalid_exact_evm_nonce_already_used',
  permit2: 'permit2_invalid_nonce',
  solana: 'invalid_exact_svm_payload_signature_invalid',
  tempo: 'verification-failed',
} satisfies Record<PaymentKind, string>;

/** The facilitator of a payment that was on the chain before it was shown to us. */
export const SETTLED_BY_OTHERS = 'none';

/** What is told about a payment that was presented before. */
export interface Repetitions {
  /** The answer to a payment that was presented before; undefined when it was not. */
  answer(request: TopupRequest): Promise<TopupOutcome | undefined>;
  /** The same for one whose claim and row are at hand. */
  answerStored(request: TopupRequest, claim: PaymentClaim, stored: Payment): Promise<TopupOutcome>;
}

/** The same signed payment gets the same answer; whoever else presents it learns nothing but that it is taken. */
export function createRepetitions(deps: {
  db: Queryable;
  statements: Pick<PaymentStatements, 'findClaim'>;
  networks: ReadonlyMap<string, SettlementNetwork>;
  settlement: Settlement;
  owners: Owners;
}): Repetitions {
  const { db, statements, networks, settlement } = deps;
  const { ownerOf, payerOf } = deps.owners;

  async function answer(request: TopupRequest): Promise<TopupOutcome | undefined> {
    const claim = await statements.findClaim(request.payment.identity);
    const stored = claim && (await findPayment(db, claim.cell, claim.paymentId));
    return stored && answerStored(request, claim, stored);
  }

  async function answerStored(
    request: TopupRequest,
    claim: PaymentClaim,
    stored: Payment,
  ): Promise<TopupOutcome> {
    if (!(await isSamePayment(request.payment, stored))) {
      return {
        kind: 'refused',
        reason: NAME_IN_USE[request.payment.kind],
        message: 'the name of this payment belongs to another one, or its signature is not the payer’s',
      };
    }
    return repeat(request, claim, stored);
  }

  /** What became of a payment, for who may know it. */
  async function repeat(request: TopupRequest, claim: PaymentClaim, stored: Payment): Promise<TopupOutcome> {
    if (!(await isSameOrder(request, claim, stored))) {
      const isPublic = stored.facilitator === SETTLED_BY_OTHERS && stored.state === 'credited';
      const isOfPayer = isPublic && claim.accountId === (await payerOf(request)).accountId;
      return { kind: 'conflict', settled: !isOpen(stored), ...(isOfPayer && { isOfPayer }) };
    }
    const { paymentId } = stored;
    if (stored.state === 'credited') {
      assert(
        stored.creditedNanoUsd !== undefined && stored.availableNanoUsd !== undefined,
        'credited with amounts',
      );
      assert(stored.transaction !== undefined, 'credited with a transaction');
      return {
        kind: 'credited',
        paymentId,
        amountNanoUsd: stored.creditedNanoUsd,
        balanceNanoUsd: stored.availableNanoUsd,
        network: stored.signed.network,
        payer: stored.signed.payer,
        transaction: stored.transaction,
        replayed: true,
        purchase: stored.purposeResult,
      };
    }
    if (stored.state !== 'failed') return inProgress(paymentId);
    return lookAgain(claim.cell, stored);
  }

  /**
   * A failed payment is over for us, but its permission may still be good: somebody else can have sent it
   * since. Money that did arrive is credited, whatever we said before.
   */
  async function lookAgain(cell: CellName, stored: Payment): Promise<TopupOutcome> {
    const open: OpenPayment = { ...stored, cell };
    const hint = { transactions: [], fromBlock: stored.fromBlock };
    const proof = await settlement.look(settlement.networkOf(open), open, hint);
    if (!proof) throw unavailable('the chain that can tell about this payment');
    if (proof.kind === 'transferred') return settlement.credit(open, proof.transfer, true);
    if (proof.kind === 'confirming' || (proof.kind === 'unknown' && proof.used))
      return inProgress(stored.paymentId);
    return {
      kind: 'failed',
      paymentId: stored.paymentId,
      reason: stored.reason ?? 'failed',
      transaction: stored.transaction,
    };
  }

  /** Whether the request is for what the stored payment is for: the same purchase, or credit of the same account. */
  async function isSameOrder(request: TopupRequest, claim: PaymentClaim, stored: Payment): Promise<boolean> {
    if (claim.environment !== request.environment) return false;
    if (request.purchase || stored.purpose) return request.purchase?.terms === stored.purpose?.terms;
    return claim.accountId === (await ownerOf(request)).accountId;
  }

  async function isSamePayment(presented: ExactPayment, stored: Payment): Promise<boolean> {
    const likeness = comparePayments(presented, stored.signed);
    if (likeness !== 'resigned') return likeness === 'same';
    // Another encoding of the signature, or a forgery: only the key tells.
    return (await networks.get(presented.network)?.facilitators.verifySignature(presented)) === true;
  }

  return { answer, answerStored };
}

export function inProgress(paymentId: string): TopupOutcome {
  return { kind: 'in_progress', paymentId, retryAfterSeconds: RETRY_AFTER_SECONDS };
}
