import { GatewayError } from '../../lib/errors.ts';
import type { PurposeResult } from '../../payments/payment.ts';
import type { Environment } from '../../ports/environment.ts';
import type { ExactPayment } from '../../ports/payment.ts';
import type { Agents } from '../../subscriptions/agents.ts';
import type { TopupOutcome, TopupRequest } from '../../topups/types.ts';
import { PENDING_RETRY_SECONDS } from './limits.ts';
import type { Call } from './operations.ts';

/** A call together with its payment, for the payment's life: what it buys and the rules of who may. */
export function paidCall(
  agents: Agents,
  { order, terms }: Call,
  {
    payment,
    environment,
    answerTag,
    unfit,
  }: {
    payment: ExactPayment;
    environment: Environment;
    answerTag?: string | undefined;
    /** Why the payment does not pay for the call. */
    unfit?: string | undefined;
  },
): TopupRequest {
  const { network, payer: address } = payment;
  const payer = { environment, network, address };
  async function prepare() {
    if (unfit !== undefined) throw new GatewayError('payment_unusable', unfit);
    const { customer, purpose } = await agents.prepare(payer, order, terms);
    return { customer, purpose: { ...purpose, ...(answerTag !== undefined && { answerTag }) } };
  }
  return {
    payment,
    environment,
    source: 'mobula',
    purchase: { terms, prepare, creditor: () => agents.creditorOf(payer) },
  };
}

type Credited = Extract<TopupOutcome, { kind: 'credited' }>;

/**
 * The result of a purchase that was applied.
 * @throws GatewayError conflict for one that could not be: its money is plain credit of the account, which the
 * operator knows of
 */
export function requireApplied({ purchase, paymentId }: Credited): PurposeResult | undefined {
  const problem = purchase?.['unapplied'];
  if (purchase !== undefined && problem === undefined) return purchase;
  // Anything else that stopped it is the operator's business.
  const reason = purchase?.['refused'] === true ? ` (${String(problem)})` : '';
  throw new GatewayError(
    'conflict',
    `the payment arrived and what it was for could not be applied${reason}: it was added to the account as credit`,
    { details: { paymentId } },
  );
}

export function notKnownYet({ paymentId }: { paymentId: string }): GatewayError {
  return new GatewayError(
    'settlement_pending',
    'the payment is still being settled; repeat the same request later and do not sign a new payment',
    { details: { paymentId, statusUrl: `/payments/${paymentId}` }, retryAfterSeconds: PENDING_RETRY_SECONDS },
  );
}
