import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Static } from 'typebox';
import type { KeyHolder } from '../../accounts/types.ts';
import type { RateLimiters } from '../../http/rate-limit.ts';
import { assertNever } from '../../lib/assert.ts';
import { encodeBase64Json } from '../../lib/base64.ts';
import { GatewayError } from '../../lib/errors.ts';
import { nanoToBaseUnits } from '../../lib/money.ts';
import type { Environment } from '../../ports/environment.ts';
import type { ExactPayment } from '../../ports/payment.ts';
import { markOffer } from '../../protocols/offer-mark.ts';
import type { PaymentOption } from '../../topups/types.ts';
import { keyHolderOf, perHolder } from './authentication.ts';
import { PENDING_RETRY_SECONDS, TOPUP_RATE } from './limits.ts';
import { createOfferMaker, type Offer, type OfferMaker } from './offer.ts';
import type { DriaOptions } from './options.ts';
import { readPayment, type X402Version } from './payment-header.ts';
import { REASON, translateReason } from './reasons.ts';
import { errorText, json, PaymentHeaders, PaymentRequired, TopupRequest, TopupResult } from './schemas.ts';
import { WALLET_KEY_PATH } from './wallet-key.ts';
import { readAmount, topupBody } from './wire.ts';

export const TOPUP_PATH = '/credits/topup';

const schema = {
  operationId: 'driaTopUp',
  tags: ['dria'],
  summary: 'Buy credits',
  description:
    'Without a payment header: 402 with the offer for `amount`. With a signed x402 payment of exactly that amount, by the same request again: the payment is settled and the owner of the key credited. The same payment is credited once, however often it is sent; sending it again answers what became of it. 503 means that its outcome is not known yet: send the same request again, never a new payment.',
  security: [{ bearer: [] }],
  headers: PaymentHeaders,
  body: TopupRequest,
  response: {
    200: json('Credited', TopupResult, ['X-PAYMENT-RESPONSE', 'PAYMENT-RESPONSE']),
    400: errorText('The amount or the form of the payment is malformed'),
    401: errorText('The key is missing or not valid'),
    402: json(
      'The offer: `error` tells whether no payment was presented or why it was refused. No money moved. Version 2 of the same offer is in `PAYMENT-REQUIRED`.',
      PaymentRequired,
      ['PAYMENT-REQUIRED', 'X-PAYMENT-RESPONSE', 'PAYMENT-RESPONSE'],
    ),
    409: errorText(
      'The payment was on the chain before it was shown here: it is credit of the wallet that paid, whose key `POST /v1/auth/wallet` gives. Do not pay again.',
    ),
    429: errorText('Too many calls with this key', ['Retry-After']),
    503: errorText('The outcome of a payment is not known yet, or a part is down', ['Retry-After']),
  },
};

/** A payment together with what its key was offered. */
interface Presented {
  holder: KeyHolder;
  version: X402Version;
  payment: ExactPayment;
  option: PaymentOption;
  requiredBaseUnits: bigint;
}

/** The payment was credited, it was not and never will be, or nobody knows yet. */
type Verdict =
  | { kind: 'credited'; body: ReturnType<typeof topupBody> }
  | { kind: 'refused'; reason: string }
  | { kind: 'unknown' };

/** `POST /v1/credits/topup`: offer and payment. */
export function topupRoute(app: FastifyInstance, options: DriaOptions, limiters: RateLimiters): void {
  const ways = waysToPay(options);

  /** Signing once more while a payment of the account may still arrive could pay twice. */
  async function sendOffer(reply: FastifyReply, { customer }: KeyHolder, { body, header }: Offer) {
    if (await options.paymentLookups.hasPending(customer)) throw notKnownYet();
    return reply.code(402).header('PAYMENT-REQUIRED', header).type('application/json').send(body);
  }

  const onRequest = perHolder(limiters.perKey(TOPUP_RATE));
  app.post<{ Body: Static<typeof TopupRequest> }>(
    TOPUP_PATH,
    { schema: { ...schema, ...markOffer('x402', ways.size) }, onRequest },
    async (request, reply) => {
      const holder = keyHolderOf(request);
      const nanoUsd = readAmount(request.body.amount);
      const way = ways.get(holder.environment);
      if (!way) throw new GatewayError('payments_not_configured', 'payments are not available for this key');
      const { option, makeOffer } = way;
      const presented = readPayment(request.headers, option);
      if (!presented) return sendOffer(reply, holder, makeOffer(nanoUsd, 'X-PAYMENT header is required'));
      if (presented.kind === 'refused') return sendOffer(reply, holder, makeOffer(nanoUsd, presented.reason));

      const { version, payment } = presented;
      const requiredBaseUnits = nanoToBaseUnits(nanoUsd, option.assetDecimals);
      const call = { holder, version, payment, option, requiredBaseUnits };
      const verdict = await judge(options, call);
      switch (verdict.kind) {
        case 'credited':
          addReceipt(reply, call, { success: true, transaction: verdict.body.txHash });
          return reply.code(200).send(verdict.body);
        case 'refused':
          addReceipt(reply, call, { success: false, errorReason: verdict.reason, transaction: '' });
          return sendOffer(reply, holder, makeOffer(nanoUsd, verdict.reason));
        case 'unknown':
          throw notKnownYet();
        default:
          return assertNever(verdict);
      }
    },
  );
}

interface WayToPay {
  option: PaymentOption;
  makeOffer: OfferMaker;
}

/**
 * The way to pay of each environment: version 1 clients pay the first entry they see, so there is one. The
 * contract knows EVM networks alone.
 */
function waysToPay({ paymentOptions, publicOrigin }: DriaOptions): ReadonlyMap<Environment, WayToPay> {
  const resource = `${publicOrigin}/v1${TOPUP_PATH}`;
  const ways = new Map<Environment, WayToPay>();
  for (const option of paymentOptions) {
    if (option.solana || ways.has(option.environment)) continue;
    ways.set(option.environment, { option, makeOffer: createOfferMaker(option, resource) });
  }
  return ways;
}

/** The order of the contract: what is known of the payment, its amount, its time, then its signature. */
async function judge(options: DriaOptions, call: Presented): Promise<Verdict> {
  const { payment, holder, requiredBaseUnits } = call;
  const state = await options.paymentLookups.stateOf(payment.identity);
  const reused: Verdict =
    state === 'credited' ? { kind: 'refused', reason: REASON.duplicate } : { kind: 'unknown' };
  const isTaken = state !== undefined && state !== 'failed';
  if (payment.amountBaseUnits !== requiredBaseUnits) {
    return isTaken ? reused : { kind: 'refused', reason: REASON.value };
  }
  const untimely = state === undefined ? checkTimes(payment, options.clock.nowMs()) : undefined;
  if (untimely) return { kind: 'refused', reason: untimely };

  const { environment, customer } = holder;
  const outcome = await options.topups.topUp({ payment, environment, customer, source: 'dria' });
  switch (outcome.kind) {
    case 'credited':
      return { kind: 'credited', body: topupBody(outcome) };
    case 'in_progress':
    case 'pending':
      return { kind: 'unknown' };
    case 'failed':
      return { kind: 'refused', reason: translateReason(outcome.reason, REASON.settle) };
    case 'refused':
      return isTaken ? reused : { kind: 'refused', reason: translateReason(outcome.reason, REASON.verify) };
    case 'conflict':
      if (outcome.isOfPayer) throw creditOfPayer();
      return outcome.settled ? { kind: 'refused', reason: REASON.duplicate } : { kind: 'unknown' };
    default:
      return assertNever(outcome);
  }
}

/** The token needs the authorization to be valid when the block is made, which is a little later. */
const MIN_VALIDITY_SECONDS = 6n;

/** Checked again by the facilitator; here because the contract puts it before the signature. */
function checkTimes(payment: ExactPayment, nowMs: number): string | undefined {
  if (payment.kind !== 'eip3009') return undefined;
  const { authorization } = payment;
  const now = BigInt(Math.floor(nowMs / 1000));
  if (authorization.validBefore < now + MIN_VALIDITY_SECONDS) return REASON.validBefore;
  return authorization.validAfter > now ? REASON.validAfter : undefined;
}

function notKnownYet(): GatewayError {
  return new GatewayError(
    'settlement_pending',
    'a payment is still being settled; repeat the same request later and do not sign a new payment',
    { retryAfterSeconds: PENDING_RETRY_SECONDS },
  );
}

/** Money did move, and the one who shows the payment may be who moved it: no offer, which would be paid once more. */
function creditOfPayer(): GatewayError {
  return new GatewayError(
    'payment_conflict',
    `this payment was on the chain before it was shown here, so it is credit of the wallet that paid: do not pay again, get a key of that wallet by POST /v1${WALLET_KEY_PATH}`,
  );
}

const RECEIPT_HEADERS = { 1: 'X-PAYMENT-RESPONSE', 2: 'PAYMENT-RESPONSE' } as const;

function addReceipt(
  reply: FastifyReply,
  { version, option, payment }: Presented,
  result: { success: boolean; transaction: string; errorReason?: string },
): void {
  const network = version === 1 ? option.networkAlias : option.network;
  void reply.header(RECEIPT_HEADERS[version], encodeBase64Json({ ...result, network, payer: payment.payer }));
}
