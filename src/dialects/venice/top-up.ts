import type { FastifyInstance, FastifyReply } from 'fastify';
import { Type } from 'typebox';
import type { RateLimiters } from '../../http/rate-limit.ts';
import { assertNever } from '../../lib/assert.ts';
import { encodeBase64Json } from '../../lib/base64.ts';
import { GatewayError } from '../../lib/errors.ts';
import { baseUnitsToNano, formatUsd } from '../../lib/money.ts';
import type { ExactPayment } from '../../ports/payment.ts';
import { markOffer } from '../../protocols/offer-mark.ts';
import { decodeExactPayment } from '../../protocols/x402-exact.ts';
import type { PaymentOption, TopupOutcome } from '../../topups/types.ts';
import { errorHandler, TOPUP_ERRORS } from './errors.ts';
import { readPaymentHeader } from './headers.ts';
import { MAXIMUM_TOPUP, MINIMUM_TOPUP, TOPUP_RATE } from './limits.ts';
import type { VeniceOptions } from './options.ts';
import { topupOffer } from './payment-required.ts';
import { CodedError, json, PaymentHeaders, PlainError, PriceList, TopupResult } from './schemas.ts';
import { topupBody } from './wire.ts';

export const TOPUP_PATH = '/api/v1/x402/top-up';

/** The body means nothing here, but clients send small ones. */
const BODY_LIMIT = 65_536;

const schema = {
  operationId: 'veniceTopUp',
  tags: ['venice'],
  summary: 'Add credit to a wallet',
  description:
    'Without a payment header: 402 with the price list, also as base64 in `PAYMENT-REQUIRED`. With a signed x402 payment of $5 to $10,000: the payment is settled and the payer credited with exactly what was signed. The same payment is credited once, however often it is sent; sending it again answers what became of it. The request body is ignored.',
  headers: PaymentHeaders,
  response: {
    200: json('Credited', TopupResult, ['PAYMENT-RESPONSE']),
    400: json('The payment was refused; nothing was sent to the chain', CodedError),
    402: json(
      'No payment was presented (price list), or it could not be settled and no money moved (`SETTLEMENT_FAILED`)',
      Type.Union([PriceList, CodedError]),
      ['PAYMENT-REQUIRED', 'PAYMENT-RESPONSE'],
    ),
    409: json(
      'The same payment is being settled (`PAYMENT_IN_PROGRESS`), or belongs to another account (`PAYMENT_ALREADY_PROCESSED`)',
      CodedError,
      ['Retry-After'],
    ),
    413: json('The body is larger than this route reads', CodedError),
    429: json('More than 10 calls a minute from one address', PlainError),
    500: json('Unexpected error', CodedError),
    503: json('A part is down, nothing was submitted: try the same payment again', CodedError, [
      'Retry-After',
    ]),
    504: json(
      'The outcome is not known yet (`SETTLEMENT_TIMEOUT`): send the same payment again, never a new one',
      CodedError,
      ['PAYMENT-RESPONSE', 'Retry-After'],
    ),
  },
};

/** `POST /api/v1/x402/top-up`: price list and payment. */
export function topupRoute(app: FastifyInstance, options: VeniceOptions, limiters: RateLimiters): void {
  const { topups, paymentOptions } = options;
  const makeOffer = topupOffer(paymentOptions, MINIMUM_TOPUP);
  app.setErrorHandler(errorHandler(TOPUP_ERRORS));
  // Clients announce JSON and send nothing, or send a body without a type: all of it is read and dropped.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, done) => done(null, undefined));

  const marked = { ...schema, ...markOffer('x402', paymentOptions.length) };
  const routeOptions = { schema: marked, bodyLimit: BODY_LIMIT, onRequest: limiters.perAddress(TOPUP_RATE) };
  app.post(TOPUP_PATH, routeOptions, async (request, reply) => {
    if (paymentOptions.length === 0) {
      throw new GatewayError('payments_not_configured', 'Payments are not available on this server');
    }
    const header = readPaymentHeader(request.headers);
    if (header === undefined) {
      const offer = makeOffer();
      return reply
        .code(402)
        .header('PAYMENT-REQUIRED', offer.header)
        .type('application/json')
        .send(offer.body);
    }
    const payment = decodeExactPayment(header, paymentOptions);
    const { environment } = requireAllowedAmount(payment, paymentOptions);
    const outcome = await topups.topUp({ payment, environment, source: 'venice' });
    return answer(reply, payment, outcome);
  });
}

/** @returns the way to pay that the payment uses. */
function requireAllowedAmount(payment: ExactPayment, options: readonly PaymentOption[]): PaymentOption {
  const option = options.find(each => each.network === payment.network && each.asset === payment.asset);
  if (!option) throw new GatewayError('unsupported_asset', 'this token is not accepted on this network');
  const nanoUsd = baseUnitsToNano(payment.amountBaseUnits, option.assetDecimals);
  if (nanoUsd < MINIMUM_TOPUP) {
    throw new GatewayError('amount_too_low', `The minimum top-up is $${formatUsd(MINIMUM_TOPUP)}`);
  }
  if (nanoUsd > MAXIMUM_TOPUP) {
    throw new GatewayError('amount_too_high', `The maximum top-up is $${formatUsd(MAXIMUM_TOPUP)}`);
  }
  return option;
}

/**
 * Every outcome but a credit is thrown, so that one table gives status and form. The settlement header is
 * set before, on the answers to a payment that was or may have been sent.
 */
function answer(reply: FastifyReply, payment: ExactPayment, outcome: TopupOutcome) {
  switch (outcome.kind) {
    case 'credited':
      setSettlementHeader(reply, payment, { success: true, transaction: outcome.transaction });
      return reply.code(200).send(topupBody(outcome));
    case 'failed':
      setSettlementHeader(reply, payment, {
        success: false,
        errorReason: outcome.reason,
        transaction: outcome.transaction ?? '',
      });
      throw new GatewayError('settlement_failed', 'The payment could not be settled. No funds were moved.', {
        details: { reason: outcome.reason, paymentId: outcome.paymentId },
      });
    case 'pending':
      setSettlementHeader(reply, payment, {
        success: false,
        errorReason: 'settlement_pending',
        transaction: outcome.transaction ?? '',
      });
      throw new GatewayError(
        'settlement_pending',
        'The outcome of the settlement is not known yet. Send the same payment again; it is credited once.',
        { details: { paymentId: outcome.paymentId }, retryAfterSeconds: outcome.retryAfterSeconds },
      );
    case 'in_progress':
      throw new GatewayError('payment_in_progress', 'This payment is being settled now.', {
        details: { paymentId: outcome.paymentId },
        retryAfterSeconds: outcome.retryAfterSeconds,
      });
    case 'refused':
      throw new GatewayError('verification_failed', outcome.message, { details: { reason: outcome.reason } });
    case 'conflict':
      throw new GatewayError('payment_conflict', 'This payment cannot be used here.');
    default:
      return assertNever(outcome);
  }
}

function setSettlementHeader(
  reply: FastifyReply,
  { network, payer }: ExactPayment,
  result: { success: boolean; transaction: string; errorReason?: string },
): void {
  void reply.header('PAYMENT-RESPONSE', encodeBase64Json({ ...result, network, payer }));
}
