import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorAnswer, toGatewayError } from '../../http/errors.ts';
import type { RateLimiters } from '../../http/rate-limit.ts';
import { assertNever } from '../../lib/assert.ts';
import { GatewayError } from '../../lib/errors.ts';
import { nanoToBaseUnits } from '../../lib/money.ts';
import { type MppDemand, type MppRail, MppRefusal, problemOf } from '../../protocols/mpp.ts';
import { markOffer } from '../../protocols/offer-mark.ts';
import { EVERY_ANSWER } from './cors.ts';
import { logRefusal, STATUS } from './errors.ts';
import { AGENT_RATE, BODY_LIMIT_BYTES } from './limits.ts';
import { type Call, OPERATIONS, type Operation, type Query } from './operations.ts';
import type { MobulaOptions } from './options.ts';
import { notKnownYet, paidCall, requireApplied } from './paid-call.ts';
import { json, MppHeaders, Problem } from './schemas.ts';

export const MPP_PREFIX = '/agent/mpp';

const PROBLEM_TYPE = 'application/problem+json';

/** The operations, paid by MPP: a stablecoin on Tempo. To be registered as a plugin of its own. */
export function mppRail(
  app: FastifyInstance,
  options: MobulaOptions,
  rail: MppRail,
  limiters: RateLimiters,
): void {
  app.setErrorHandler(answerInProblems);
  const onRequest = limiters.perAddress(AGENT_RATE);
  for (const operation of OPERATIONS) {
    const route = {
      url: `${MPP_PREFIX}${operation.path}`,
      bodyLimit: BODY_LIMIT_BYTES,
      exposeHeadRoute: false,
      onRequest,
      handler: (request: FastifyRequest, reply: FastifyReply) =>
        serve(options, rail, operation, request, reply),
    };
    const schema = schemaOf(operation, rail);
    app.route({ ...route, method: 'GET', schema });
    if (operation.method !== 'GET') {
      const operationId = `${schema.operationId}By${operation.method}`;
      app.route({ ...route, method: operation.method, schema: { ...schema, operationId } });
    }
  }
}

function schemaOf(operation: Operation, rail: MppRail) {
  const problem = (text: string) => json(text, Problem, [], PROBLEM_TYPE);
  const refusals = Object.entries(operation.refusals).map(([status, text]) => [status, problem(text)]);
  const { fixedPriceNanoUsd: price } = operation;
  return {
    operationId: `mobulaMpp${operation.id}`,
    tags: ['mobula'],
    summary: operation.summary,
    description: `${operation.description} Without a credential: 402 with a challenge of the method tempo. With one of exactly that amount: it is settled, what was bought is applied, and both are done once, however often it is sent.`,
    headers: MppHeaders,
    querystring: operation.query,
    ...markOffer('mpp', 1),
    'x-payment-info': {
      offers: [
        {
          intent: 'charge',
          method: 'tempo',
          amount: price === undefined ? null : nanoToBaseUnits(price, rail.decimals).toString(),
          currency: rail.currency,
        },
      ],
    },
    response: {
      200: json('Done', operation.result, ['Payment-Receipt']),
      400: problem('The query is malformed'),
      402: json('The challenge; no money moved', Problem, ['WWW-Authenticate'], PROBLEM_TYPE),
      ...Object.fromEntries(refusals),
      409: problem(
        'The payment belongs to another purchase; or it was sent by its payer and is credit of the payer’s agent now, because the rules forbid what it was for or it is of another amount',
      ),
      503: json(
        'The outcome is not known yet, or a part is down: send the same credential again',
        Problem,
        ['Retry-After'],
        PROBLEM_TYPE,
      ),
    },
  };
}

/** The contract's order: query, payment present, payment good, rules of the business, settlement. */
async function serve(
  options: MobulaOptions,
  rail: MppRail,
  operation: Operation,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { agents } = options;
  const { protocol, environment } = rail;
  const call = operation.read(request.query as Query);
  const demand = demandOf(operation, call, rail);
  async function sendChallenge(problem?: MppRefusal['problem']): Promise<FastifyReply> {
    const { header, body } = await protocol.challenge(demand, problem);
    return reply.code(402).header('WWW-Authenticate', header).type(PROBLEM_TYPE).send(JSON.stringify(body));
  }
  try {
    const presented = await protocol.readPayment(request.headers.authorization, demand);
    if (!presented) return await sendChallenge();
    const outcome = await options.topups.topUp(paidCall(agents, call, { ...presented, environment }));
    switch (outcome.kind) {
      case 'credited': {
        const { amountNanoUsd } = outcome;
        const result = requireApplied(outcome);
        const receipt = protocol.receipt(outcome.transaction, new Date(options.clock.nowMs()));
        return await reply
          .header('Payment-Receipt', receipt)
          .header('Cache-Control', 'private')
          .send(operation.answer(agents, { environment, amountNanoUsd, result }));
      }
      case 'failed':
      case 'refused':
        return await sendChallenge(
          problemOf(outcome.reason, 'message' in outcome ? outcome.message : undefined),
        );
      case 'pending':
      case 'in_progress':
        // Never 402: the client takes every challenge for a new price and pays it.
        throw notKnownYet(outcome);
      case 'conflict':
        throw new GatewayError('payment_conflict', 'this payment cannot be used here');
      default:
        return assertNever(outcome);
    }
  } catch (error) {
    if (error instanceof MppRefusal) return sendChallenge(error.problem);
    throw error;
  }
}

/** A challenge is bound to the rail's path and the query by the terms that it names. */
function demandOf(operation: Operation, { priceNanoUsd, terms }: Call, { decimals }: MppRail): MppDemand {
  return {
    amountBaseUnits: nanoToBaseUnits(priceNanoUsd, decimals),
    description: operation.summary,
    terms: `${MPP_PREFIX}/${terms}`,
  };
}

/** Answers as problem details (RFC 9457). What fails before any hook has run lacks the headers of every answer. */
export const answerInProblems: ErrorAnswer = (thrown, request, reply) => {
  const error = toGatewayError(thrown);
  logRefusal(request, error, thrown);
  const { code, message, details, retryAfterSeconds } = error;
  if (retryAfterSeconds !== undefined) void reply.header('Retry-After', retryAfterSeconds);
  const status = STATUS[code];
  // Extensions first: none of them may take the place of a member that RFC 9457 defines.
  const problem = { ...details, type: 'about:blank', title: code, status, detail: message };
  return reply.headers(EVERY_ANSWER).code(status).type(PROBLEM_TYPE).send(JSON.stringify(problem));
};
