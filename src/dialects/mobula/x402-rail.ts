import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { RateLimiters } from '../../http/rate-limit.ts';
import { assertNever } from '../../lib/assert.ts';
import { encodeBase64Json } from '../../lib/base64.ts';
import { GatewayError } from '../../lib/errors.ts';
import { nanoToBaseUnits } from '../../lib/money.ts';
import type { ExactPayment } from '../../ports/payment.ts';
import { markOffer } from '../../protocols/offer-mark.ts';
import { offerExtensions, offerExtra, requireOffered } from '../../protocols/x402-offer.ts';
import type { PaymentOption, TopupOutcome } from '../../topups/types.ts';
import { ANSWER_TOKEN, newAnswerToken, requireSamePresenter } from './answer-token.ts';
import { AGENT_RATE, BODY_LIMIT_BYTES } from './limits.ts';
import { type Call, OPERATIONS, type Operation, type Query } from './operations.ts';
import type { MobulaOptions } from './options.ts';
import { notKnownYet, paidCall, requireApplied } from './paid-call.ts';
import { json, PaymentHeaders, PaymentRequired, Refusal } from './schemas.ts';
import { readPayment } from './x402-payment.ts';

export const X402_PREFIX = '/agent/x402';

/** The operations, paid by x402: USDC on every chain of the gateway, in one offer. */
export function x402Rail(app: FastifyInstance, options: MobulaOptions, limiters: RateLimiters): void {
  const onRequest = limiters.perAddress(AGENT_RATE);
  for (const operation of OPERATIONS) {
    const route = {
      url: `${X402_PREFIX}${operation.path}`,
      bodyLimit: BODY_LIMIT_BYTES,
      exposeHeadRoute: false,
      onRequest,
      handler: (request: FastifyRequest, reply: FastifyReply) => serve(options, operation, request, reply),
    };
    const schema = { ...schemaOf(operation), ...markOffer('x402', options.paymentOptions.length) };
    app.route({ ...route, method: operation.method, schema });
    // Both methods are in use for a revocation, and which of them a client takes is not in its hands.
    if (operation.method !== 'GET') {
      app.route({
        ...route,
        method: 'GET',
        schema: { ...schema, operationId: `${schema.operationId}ByGet` },
      });
    }
  }
}

function schemaOf(operation: Operation) {
  const refusals = Object.entries(operation.refusals).map(([status, text]) => [status, json(text, Refusal)]);
  return {
    operationId: `mobulaX402${operation.id}`,
    tags: ['mobula'],
    summary: operation.summary,
    description: `${operation.description} Without a payment header: 402 with the offer. With a signed x402 payment of exactly that amount: it is settled, what was bought is applied, and both are done once, however often it is sent.`,
    headers: PaymentHeaders,
    querystring: operation.query,
    response: {
      200: json('Done', operation.result, ['PAYMENT-RESPONSE', 'X-PAYMENT-RESPONSE']),
      400: json('The query or the form of the payment is malformed', Refusal),
      402: json('The offer; no money moved', PaymentRequired, ['PAYMENT-REQUIRED']),
      ...Object.fromEntries(refusals),
      409: json('The payment belongs to another purchase', Refusal),
      503: json('The outcome is not known yet, or a part is down: send the same payment again', Refusal, [
        'Retry-After',
      ]),
    },
  };
}

/** The contract's order: query, payment present, payment good, rules of the business, settlement. */
async function serve(
  options: MobulaOptions,
  operation: Operation,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { paymentOptions, agents } = options;
  const call = operation.read(request.query as Query);
  if (paymentOptions.length === 0) {
    throw new GatewayError('payments_not_configured', 'payments are not available on this server');
  }
  const sendOffer = (error: string) => {
    const offer = offerOf(options, operation, call, request, error);
    return reply.code(402).header('PAYMENT-REQUIRED', encodeBase64Json(offer)).send(offer);
  };
  const presented = readPayment(request.headers, paymentOptions);
  if (!presented) return sendOffer('Payment required');
  if (presented.kind === 'refused') return sendOffer(presented.reason);

  const { payment, version, answerTag } = presented;
  const option = optionOf(payment, paymentOptions);
  if (payment.amountBaseUnits !== nanoToBaseUnits(call.priceNanoUsd, option.assetDecimals)) {
    return sendOffer('invalid_exact_payload_amount_mismatch');
  }
  const outcome = await options.topups.topUp(
    paidCall(agents, call, { payment, environment: option.environment, answerTag }),
  );
  if (outcome.kind === 'credited' && operation.tellsKeys) requireSamePresenter(outcome, answerTag);
  addReceipt(reply, { version, payment, option, outcome });
  switch (outcome.kind) {
    case 'credited':
      return reply.send(
        operation.answer(agents, {
          environment: option.environment,
          amountNanoUsd: outcome.amountNanoUsd,
          result: requireApplied(outcome),
        }),
      );
    case 'failed':
    case 'refused':
      return sendOffer(outcome.reason);
    case 'pending':
    case 'in_progress':
      throw notKnownYet(outcome);
    case 'conflict':
      throw new GatewayError('payment_conflict', 'this payment cannot be used here');
    default:
      return assertNever(outcome);
  }
}

/** Version 2, which the scripts read from the header; its body is the same, which is ours. */
function offerOf(
  { paymentOptions, publicOrigin }: MobulaOptions,
  operation: Operation,
  { priceNanoUsd }: Call,
  request: FastifyRequest,
  error: string,
) {
  const answerToken = newAnswerToken();
  return {
    x402Version: 2,
    error,
    resource: {
      url: `${publicOrigin}${request.url}`,
      description: operation.summary,
      mimeType: 'application/json',
    },
    accepts: requireOffered(paymentOptions).map(option => ({
      scheme: option.scheme,
      network: option.network,
      amount: nanoToBaseUnits(priceNanoUsd, option.assetDecimals).toString(),
      asset: option.asset,
      payTo: option.payTo,
      maxTimeoutSeconds: option.maxTimeoutSeconds,
      extra: { ...offerExtra(option), [ANSWER_TOKEN]: answerToken },
    })),
    ...offerExtensions(paymentOptions),
  };
}

function optionOf(payment: ExactPayment, options: readonly PaymentOption[]): PaymentOption {
  const option = options.find(each => each.network === payment.network && each.asset === payment.asset);
  if (!option) throw new GatewayError('internal', 'a payment was read for an option that is not offered');
  return option;
}

const RECEIPT_HEADERS = { 1: 'X-PAYMENT-RESPONSE', 2: 'PAYMENT-RESPONSE' } as const;

/** What became of the payment, on every answer to one that was or may have been sent. */
function addReceipt(
  reply: FastifyReply,
  settled: { version: 1 | 2; payment: ExactPayment; option: PaymentOption; outcome: TopupOutcome },
): void {
  const { version, payment, option, outcome } = settled;
  if (outcome.kind === 'refused' || outcome.kind === 'conflict' || outcome.kind === 'in_progress') return;
  const reason = outcome.kind === 'failed' ? outcome.reason : 'settlement_pending';
  const receipt = {
    success: outcome.kind === 'credited',
    ...(outcome.kind !== 'credited' && { errorReason: reason }),
    transaction: outcome.transaction ?? '',
    network: version === 1 ? option.networkAlias : option.network,
    payer: payment.payer,
  };
  void reply.header(RECEIPT_HEADERS[version], encodeBase64Json(receipt));
}
