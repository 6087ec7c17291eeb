import type { KeyHolder } from '../../accounts/types.ts';
import { assertNever } from '../../lib/assert.ts';
import { encodeBase64Json } from '../../lib/base64.ts';
import { GatewayError, unavailable } from '../../lib/errors.ts';
import { nanoToBaseUnits } from '../../lib/money.ts';
import type { Environment } from '../../ports/environment.ts';
import type { ExactPayment } from '../../ports/payment.ts';
import { decodeExactPayment } from '../../protocols/x402-exact.ts';
import { offerExtra, offeredNow } from '../../protocols/x402-offer.ts';
import type { PaymentOption, TopupOutcome } from '../../topups/types.ts';
import { toCents } from '../../vouchers/cents.ts';
import { type Answer, type AnswerParts, answer, CODE, Refusal } from './envelope.ts';
import { PENDING_RETRY_SECONDS } from './limits.ts';
import type { AitopupOptions } from './options.ts';
import { CURRENCY, environmentName } from './wire.ts';

/** What a caller asked for, and the ways in which it may pay for it. */
export interface Funding {
  sender: KeyHolder;
  amountNanoUsd: bigint;
  ways: readonly PaymentOption[];
}

/** Why a payment is asked for, or once more. */
interface Refused {
  reason: string;
  message: string;
  /** The code of x402 for it. */
  x402Error?: string;
  /** Of a payment that was presented. */
  receipt?: Record<string, string>;
}

const REFUSED = { reason: 'payment_refused', message: 'the payment was refused, and no money moved' };

/** Offers and payments of version 2 of x402, for the wallet of a key's owner. */
export function createFundPayments(
  options: AitopupOptions,
  resource: { url: string; description: string; mimeType: string },
) {
  const { clock } = options;

  /** The offer, unless a payment of this owner may still arrive: signing once more could pay twice. */
  async function offer(funding: Funding, refused: Refused): Promise<Refusal> {
    const { reason, message, x402Error, receipt: headers = {} } = refused;
    if (await options.paymentLookups.hasPending(funding.sender.customer)) throw notKnownYet();
    const ways = offeredNow(funding.ways);
    // A 402 without an entry would be no offer.
    if (ways.length === 0) throw unavailable('a facilitator that pays the fee of payments');
    const accepts = ways.map(option => ({
      scheme: option.scheme,
      network: option.network,
      amount: nanoToBaseUnits(funding.amountNanoUsd, option.assetDecimals).toString(),
      asset: option.asset,
      payTo: option.payTo,
      maxTimeoutSeconds: option.maxTimeoutSeconds,
      extra: offerExtra(option),
    }));
    const required = { x402Version: 2, error: x402Error ?? message, resource, accepts };
    return new Refusal(CODE.insufficient, message, reason, {
      headers: { ...headers, 'PAYMENT-REQUIRED': encodeBase64Json(required) },
      ...(x402Error !== undefined && { data: { x402_error: x402Error } }),
    });
  }

  async function pay(funding: Funding, header: string): Promise<Answer> {
    // Node joins a repeated header with a comma, which base64 does not contain.
    if (header.includes(',')) throw new GatewayError('payment_malformed', 'send one payment, in one header');
    const payment = decodeExactPayment(header, funding.ways);
    const way = funding.ways.find(each => each.network === payment.network && each.asset === payment.asset);
    const wanted = way && nanoToBaseUnits(funding.amountNanoUsd, way.assetDecimals);
    if (payment.amountBaseUnits !== wanted) throw await refuseAmount(funding, payment);
    const { customer, environment } = funding.sender;
    const outcome = await options.topups.topUp({ payment, environment, customer, source: 'aitopup' });
    switch (outcome.kind) {
      case 'credited':
        return credited(payment, outcome, environment);
      case 'in_progress':
        throw notKnownYet({ data: { payment_id: outcome.paymentId } });
      case 'pending':
        throw notKnownYet({
          headers: receipt(payment, { errorReason: 'settlement_pending', transaction: outcome.transaction }),
          data: { payment_id: outcome.paymentId },
        });
      case 'failed':
      case 'refused':
        throw await offer(funding, {
          ...REFUSED,
          x402Error: outcome.reason,
          receipt: receipt(payment, {
            errorReason: outcome.reason,
            transaction: outcome.kind === 'failed' ? outcome.transaction : undefined,
          }),
        });
      case 'conflict':
        throw conflict();
      default:
        return assertNever(outcome);
    }
  }

  /** Of what is known of the payment already nothing is told but that it is not free. */
  async function refuseAmount(funding: Funding, payment: ExactPayment): Promise<Refusal> {
    const state = await options.paymentLookups.stateOf(payment.identity);
    if (state === 'credited') return conflict();
    if (state !== undefined && state !== 'failed') return notKnownYet();
    const x402Error = 'invalid_exact_payload_amount_mismatch';
    return offer(funding, { ...REFUSED, message: 'the payment is not of this amount', x402Error });
  }

  function credited(
    payment: ExactPayment,
    outcome: Extract<TopupOutcome, { kind: 'credited' }>,
    environment: Environment,
  ): Answer {
    return answer(CODE.done, clock.nowMs(), {
      headers: receipt(payment, { transaction: outcome.transaction }),
      data: {
        amount_cents: toCents(outcome.amountNanoUsd),
        wallet_balance_cents: toCents(outcome.balanceNanoUsd),
        currency: CURRENCY,
        environment: environmentName(environment),
        payment_id: outcome.paymentId,
        transaction: outcome.transaction,
        network: outcome.network,
      },
    });
  }

  return { offer, pay };
}

/** What became of a payment; a success has no error. */
function receipt(
  { network, payer }: ExactPayment,
  { transaction = '', errorReason }: { transaction: string | undefined; errorReason?: string },
): Record<string, string> {
  const result = { success: errorReason === undefined, ...(errorReason !== undefined && { errorReason }) };
  return { 'PAYMENT-RESPONSE': encodeBase64Json({ ...result, transaction, network, payer }) };
}

function conflict(): Refusal {
  return new Refusal(CODE.duplicate, 'this payment cannot be used here', 'payment_conflict');
}

function notKnownYet(parts: Pick<AnswerParts, 'headers' | 'data'> = {}): Refusal {
  return new Refusal(
    CODE.internal,
    'the outcome of a payment is not known yet: send the same request again, never a new payment',
    'settlement_pending',
    {
      httpStatus: 503,
      ...parts,
      headers: { 'Retry-After': String(PENDING_RETRY_SECONDS), ...parts.headers },
    },
  );
}
