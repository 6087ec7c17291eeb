import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { encodeBase64Json } from '../lib/base64.ts';
import { type ErrorCode, GatewayError } from '../lib/errors.ts';
import type { ExactPayment } from '../ports/payment.ts';
import { decodeExactPayment } from '../protocols/x402-exact.ts';
import type { ForeignOutcome, ForeignSettlements } from '../topups/foreign-settlements.ts';
import { readFacilitatorRequest, type ServedToken } from './facilitator-request.ts';

export const FACILITATOR_PREFIX = '/facilitator';

export interface FacilitatorApiOptions {
  settlements: ForeignSettlements;
  /** What is settled here, one token per network. */
  tokens: readonly ServedToken[];
  /** Accounts that sign, by pattern of the network. */
  signers: Readonly<Record<string, readonly string[]>>;
  /** Keys by the name of their holder. */
  apiKeys: Readonly<Record<string, string>>;
}

const RequestBody = Type.Object(
  {
    x402Version: Type.Optional(Type.Integer()),
    paymentPayload: Type.Object({}),
    paymentRequirements: Type.Object({}),
  },
  { $id: 'FacilitatorRequest', description: 'As in x402 version 1 or 2; the payload tells the version, too' },
);

const VerifyBody = Type.Object(
  {
    isValid: Type.Boolean(),
    invalidReason: Type.Optional(Type.String()),
    invalidMessage: Type.Optional(Type.String()),
    payer: Type.Optional(Type.String()),
  },
  { $id: 'FacilitatorVerifyResponse' },
);

const SettleBody = Type.Object(
  {
    success: Type.Boolean(),
    errorReason: Type.Optional(
      Type.String({
        description:
          'settlement_pending: not known yet, ask again; duplicate_settlement: settled already, for another caller, as a ' +
          'top-up or by whoever sent it first, by the transaction that is named; invalid_transaction_state: proven not to ' +
          'have moved',
      }),
    ),
    errorMessage: Type.Optional(Type.String()),
    payer: Type.Optional(Type.String()),
    transaction: Type.String(),
    network: Type.String(),
  },
  { $id: 'FacilitatorSettleResponse' },
);

const SupportedBody = Type.Object(
  {
    kinds: Type.Array(
      Type.Object({
        x402Version: Type.Integer(),
        scheme: Type.String(),
        network: Type.String(),
        extra: Type.Optional(
          Type.Object({ feePayer: Type.String({ description: 'On Solana: who must pay the fee' }) }),
        ),
      }),
    ),
    extensions: Type.Array(Type.String()),
    signers: Type.Record(Type.String(), Type.Array(Type.String())),
  },
  { $id: 'FacilitatorSupported' },
);

const Refusal = Type.Object({ error: Type.String(), message: Type.String() });

/** The x402 code of a payload that cannot be read; everything else is `invalid_payload`. */
const REASON_OF: Partial<Record<ErrorCode, string>> = {
  unsupported_network: 'invalid_network',
  unsupported_scheme: 'unsupported_scheme',
  unsupported_asset: 'invalid_payment_requirements',
};

/**
 * This gateway as a facilitator for other sellers, in both versions of x402. The money goes to them; nothing
 * is credited here. An outcome that is not proven is `settlement_pending` and never a terminal failure.
 */
export async function facilitatorApi(app: FastifyInstance, options: FacilitatorApiOptions): Promise<void> {
  const { settlements, tokens } = options;
  const callerOf = createCallerCheck(options.apiKeys);

  /** @throws GatewayError for what cannot be a payment of the requirements */
  function read(body: unknown): { payment: ExactPayment; network: string } {
    const request = readFacilitatorRequest(body, tokens);
    const decoded = decodeExactPayment(encodeBase64Json(request.payload), [request.option]);
    const payment = demandMemo(decoded, request.memo);
    if (payment.amountBaseUnits !== request.amountBaseUnits) {
      throw new GatewayError('invalid_amount', 'the payment is not of the required amount');
    }
    return { payment, network: request.network };
  }

  app.post(
    '/verify',
    {
      schema: {
        tags: ['facilitator'],
        operationId: 'facilitatorVerify',
        summary: 'Whether a payment to another seller could be settled',
        security: [{ bearer: [] }],
        body: RequestBody,
        response: { 200: VerifyBody, 400: VerifyBody, 401: Refusal, 503: Refusal },
      },
    },
    async (request, reply) => {
      callerOf(request.headers.authorization);
      const given = attempt(() => read(request.body));
      if (given instanceof GatewayError) {
        const reason = reasonOf(given, request.body);
        return answer(reply, 400).send({ isValid: false, ...verifyReason(reason, given.message) });
      }
      const { payment } = given;
      const verdict = await settlements.verify(payment);
      if (verdict.kind === 'valid') return answer(reply, 200).send({ isValid: true, payer: payment.payer });
      const message = verdict.kind === 'invalid' ? verdict.message : 'the payment is spent already';
      return answer(reply, 200).send({
        isValid: false,
        ...verifyReason(verdict.reason, message),
        payer: payment.payer,
      });
    },
  );

  app.post(
    '/settle',
    {
      schema: {
        tags: ['facilitator'],
        operationId: 'facilitatorSettle',
        summary: 'Settle a payment to another seller; repeating the same call is safe',
        security: [{ bearer: [] }],
        body: RequestBody,
        response: { 200: SettleBody, 400: SettleBody, 401: Refusal, 503: Refusal },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request.headers.authorization);
      const given = attempt(() => read(request.body));
      if (given instanceof GatewayError) {
        const failure = { errorReason: reasonOf(given, request.body), errorMessage: given.message };
        return answer(reply, 400).send({ success: false, ...failure, transaction: '', network: '' });
      }
      const { payment, network } = given;
      const outcome = await settlements.settle(caller, payment);
      return answer(reply, 200).send({ ...settleAnswer(outcome), network, payer: payment.payer });
    },
  );

  app.get(
    '/supported',
    {
      schema: {
        tags: ['facilitator'],
        operationId: 'facilitatorSupported',
        summary: 'What is settled here',
        security: [{ bearer: [] }],
        response: { 200: SupportedBody, 401: Refusal },
      },
    },
    (request, reply) => {
      callerOf(request.headers.authorization);
      const kinds = tokens.flatMap(({ network, networkAlias, solana }) => {
        const kind = { scheme: 'exact', ...(solana ? { extra: { feePayer: solana.feePayer } } : {}) };
        return [
          { ...kind, x402Version: 2, network },
          { ...kind, x402Version: 1, network: networkAlias },
        ];
      });
      return answer(reply, 200).send({ kinds, extensions: [], signers: options.signers });
    },
  );
}

/** Money is named in these answers, and they are for one caller. */
function answer(reply: FastifyReply, status: number): FastifyReply {
  return reply.code(status).header('cache-control', 'no-store');
}

function attempt<T>(read: () => T): T | GatewayError {
  try {
    return read();
  } catch (error) {
    if (error instanceof GatewayError) return error;
    throw error;
  }
}

function reasonOf({ code }: GatewayError, body: unknown): string {
  if (code !== 'recipient_mismatch') return REASON_OF[code] ?? 'invalid_payload';
  const { network } = (body as { paymentRequirements: { network?: unknown } }).paymentRequirements;
  const family = typeof network === 'string' && network.startsWith('solana') ? 'svm' : 'evm';
  return `invalid_exact_${family}_payload_recipient_mismatch`;
}

/** What the seller demands stands above what the payer repeats of it, and version 1 repeats nothing. */
function demandMemo(payment: ExactPayment, memo: string | undefined): ExactPayment {
  if (memo === undefined || payment.kind !== 'solana') return payment;
  return { ...payment, transaction: { ...payment.transaction, memo } };
}

function verifyReason(invalidReason: string, invalidMessage: string) {
  return { invalidReason, invalidMessage };
}

const UNDONE = 'it was settled before, and a reorganisation of the chain has undone that';

function settleAnswer(outcome: ForeignOutcome) {
  const { kind } = outcome;
  if (kind === 'settled') return { success: true, transaction: outcome.transaction };
  if (kind === 'refused') {
    const { reason, message } = outcome;
    return { success: false, errorReason: reason, errorMessage: message, transaction: '' };
  }
  if (kind === 'duplicate') {
    const errorMessage =
      'this payment is settled already: for another caller, as a top-up, or by who sent it first';
    const { transaction } = outcome;
    return { success: false, errorReason: 'duplicate_settlement', errorMessage, transaction };
  }
  const transaction = outcome.transaction ?? '';
  if (kind === 'pending') {
    return {
      success: false,
      errorReason: 'settlement_pending',
      errorMessage: outcome.undone
        ? `${UNDONE}, and is sent again; repeat this call`
        : 'the outcome is not known yet; repeat this call',
      transaction,
    };
  }
  return {
    success: false,
    errorReason: 'invalid_transaction_state',
    errorMessage: `${outcome.undone ? UNDONE : 'proven on chain'}: ${outcome.reason}`,
    transaction,
  };
}

/** @returns who a key belongs to, by its digest, so that the time of a look-up tells nothing about a guess */
function createCallerCheck(apiKeys: Readonly<Record<string, string>>) {
  const known = Object.entries(apiKeys).map(([caller, key]) => ({ caller, digest: digest(key) }));
  return (authorization = ''): string => {
    const [, presented = ''] = /^Bearer ([\x21-\x7e]{1,256})$/i.exec(authorization) ?? [];
    const wanted = digest(presented);
    const [owner] = known.filter(each => timingSafeEqual(each.digest, wanted));
    if (!owner)
      throw new GatewayError('unauthorized', 'this needs the header Authorization: Bearer <API key>');
    return owner.caller;
  };
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}
