import type { FastifyInstance } from 'fastify';
import type { KeyHolder } from '../../accounts/types.ts';
import { assertNever } from '../../lib/assert.ts';
import { encodeBase64Json } from '../../lib/base64.ts';
import { GatewayError } from '../../lib/errors.ts';
import { nanoToBaseUnits } from '../../lib/money.ts';
import type { ExactPayment } from '../../ports/payment.ts';
import { markOffer } from '../../protocols/offer-mark.ts';
import { decodeExactPayment } from '../../protocols/x402-exact.ts';
import type { PaymentOption } from '../../topups/types.ts';
import { toCents } from '../../vouchers/cents.ts';
import { senderOf } from './authentication.ts';
import { type Answer, answer, CODE, Refusal } from './envelope.ts';
import { sendAnswer } from './errors.ts';
import { FUND_RANGE, PENDING_RETRY_SECONDS } from './limits.ts';
import type { AitopupOptions } from './options.ts';
import { answers, describe, FundRequest } from './schemas.ts';
import { CURRENCY, environmentName, readAmount, readObject } from './wire.ts';

export const FUND_PATH = '/topup/fund';

/** What a caller asked for, and the ways in which it may pay for it. */
interface Funding {
  sender: KeyHolder;
  amountNanoUsd: bigint;
  ways: readonly PaymentOption[];
}

/** `POST /topup/fund`: fills the wallet of the key's owner by an x402 payment of version 2. Our own route. */
export function fundRoute(app: FastifyInstance, options: AitopupOptions, prefix: string): void {
  const { clock } = options;
  const resource = {
    url: `${options.publicOrigin}${prefix}${FUND_PATH}`,
    description: 'Prepaid top-up credit',
    mimeType: 'application/json',
  };

  /** The offer, unless a payment of this owner may still arrive: signing once more could pay twice. */
  async function offer(funding: Funding, reason: string, message: string, data = {}): Promise<Refusal> {
    if (await options.paymentLookups.hasPending(funding.sender.customer)) throw notKnownYet();
    const accepts = funding.ways.map(option => ({
      scheme: option.scheme,
      network: option.network,
      amount: nanoToBaseUnits(funding.amountNanoUsd, option.assetDecimals).toString(),
      asset: option.asset,
      payTo: option.payTo,
      maxTimeoutSeconds: option.maxTimeoutSeconds,
      extra: option.extra,
    }));
    const required = { x402Version: 2, error: message, resource, accepts };
    const headers = { 'PAYMENT-REQUIRED': encodeBase64Json(required) };
    return new Refusal(CODE.insufficient, message, reason, { headers, data });
  }

  async function pay(funding: Funding, header: string): Promise<Answer> {
    // Node joins a repeated header with a comma, which base64 does not contain.
    if (header.includes(',')) throw new GatewayError('payment_malformed', 'send one payment, in one header');
    const payment = decodeExactPayment(header, funding.ways);
    const way = funding.ways.find(each => each.network === payment.network && each.asset === payment.asset);
    const wanted = way && nanoToBaseUnits(funding.amountNanoUsd, way.assetDecimals);
    if (payment.amountBaseUnits !== wanted) {
      const state = await options.paymentLookups.stateOf(payment.identity);
      if (state === 'settling' || state === 'pending') throw notKnownYet();
      const x402Error = 'invalid_exact_evm_authorization_value';
      throw await offer(funding, 'payment_refused', 'the payment is not of this amount', {
        x402_error: x402Error,
      });
    }
    const { customer, environment } = funding.sender;
    const outcome = await options.topups.topUp({ payment, environment, customer, source: 'aitopup' });
    switch (outcome.kind) {
      case 'credited':
        return answer(CODE.done, clock.nowMs(), {
          headers: receipt(payment, { success: true, transaction: outcome.transaction }),
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
      case 'in_progress':
      case 'pending':
        throw notKnownYet();
      case 'failed':
      case 'refused': {
        const refusal = await offer(
          funding,
          'payment_refused',
          'the payment was refused, and no money moved',
          {
            x402_error: outcome.reason,
          },
        );
        const headers = receipt(payment, { success: false, errorReason: outcome.reason, transaction: '' });
        Object.assign(refusal.parts.headers ?? {}, headers);
        throw refusal;
      }
      case 'conflict':
        throw new Refusal(CODE.duplicate, 'this payment cannot be used here', 'payment_conflict');
      default:
        return assertNever(outcome);
    }
  }

  app.post(
    FUND_PATH,
    {
      schema: describe('aitopupFund', 'Fill the wallet with USDC', {
        description:
          'Without a payment: 402 with the offer in `PAYMENT-REQUIRED` (x402 version 2). The same request with `PAYMENT-SIGNATURE` pays; the same payment is credited once.',
        ...markOffer('x402', options.paymentOptions.length),
        body: FundRequest,
        response: answers('Credited (1000), with `PAYMENT-RESPONSE`', {
          402: 'The offer, or why the payment was refused (2002)',
          409: 'The payment belongs to another account (2006)',
        }),
      }),
    },
    async (request, reply) => {
      const sender = senderOf(request);
      const amountNanoUsd = readAmount(readObject(request.body)['amount_cents'], FUND_RANGE);
      const ways = options.paymentOptions.filter(way => way.environment === sender.environment);
      if (ways.length === 0) {
        throw new GatewayError('payments_not_configured', 'payments are not available for this key');
      }
      const funding = { sender, amountNanoUsd, ways };
      const header = request.headers['payment-signature'];
      if (header === undefined) {
        throw await offer(funding, 'payment_required', 'PAYMENT-SIGNATURE header is required');
      }
      return sendAnswer(reply, await pay(funding, String(header)));
    },
  );
}

function receipt(
  { network, payer }: ExactPayment,
  result: { success: boolean; transaction: string; errorReason?: string },
): Record<string, string> {
  return { 'PAYMENT-RESPONSE': encodeBase64Json({ ...result, network, payer }) };
}

function notKnownYet(): Refusal {
  return new Refusal(
    CODE.internal,
    'the outcome of a payment is not known yet: send the same request again, never a new payment',
    'settlement_pending',
    { httpStatus: 503, headers: { 'Retry-After': String(PENDING_RETRY_SECONDS) } },
  );
}
