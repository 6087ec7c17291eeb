import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorAnswer, toGatewayError } from '../../http/errors.ts';
import type { Clock } from '../../lib/clock.ts';
import { type ErrorCode, GatewayError } from '../../lib/errors.ts';
import { type Answer, CODE, type Code, Refusal } from './envelope.ts';

interface WireError {
  code: Code;
  /** Where it is not the code's own. */
  status?: number;
  /** Replaces the error's own message. */
  text?: string;
}

/** Every refusal of the gateway as a code of the dialect. */
export const ERRORS = {
  // A fixed text: that of an unexpected error may quote a query, a URL or a key.
  internal: { code: CODE.internal, text: 'internal error' },
  malformed_request: { code: CODE.malformed },
  payload_too_large: { code: CODE.malformed, status: 413 },
  not_found: { code: CODE.notFound },
  method_not_allowed: { code: CODE.notFound, status: 405 },
  unauthorized: { code: CODE.invalidKey, text: 'the API key is missing or not valid' },
  forbidden: { code: CODE.invalidKey, status: 403 },
  address_not_allowed: { code: CODE.address, text: 'the API key may not be used from this address' },
  rate_limited: { code: CODE.rateLimited },
  too_many_at_once: { code: CODE.rateLimited },
  unavailable: { code: CODE.internal, status: 503 },
  conflict: { code: CODE.malformed, status: 409 },
  payments_not_configured: { code: CODE.internal, status: 503 },
  payment_not_accepted_here: { code: CODE.malformed },
  payment_malformed: { code: CODE.malformed },
  payment_unusable: { code: CODE.malformed },
  unsupported_network: { code: CODE.malformed },
  unsupported_scheme: { code: CODE.malformed },
  unsupported_asset: { code: CODE.malformed },
  recipient_mismatch: { code: CODE.malformed },
  invalid_payer: { code: CODE.malformed },
  invalid_amount: { code: CODE.amount },
  amount_too_low: { code: CODE.amount },
  amount_too_high: { code: CODE.amount },
  verification_failed: { code: CODE.insufficient },
  settlement_failed: { code: CODE.insufficient },
  payment_conflict: { code: CODE.duplicate },
  payment_in_progress: { code: CODE.internal, status: 503 },
  settlement_pending: { code: CODE.internal, status: 503 },
  proof_required: { code: CODE.invalidKey },
  proof_invalid: { code: CODE.invalidKey },
  proof_of_other_wallet: { code: CODE.invalidKey },
} satisfies Record<ErrorCode, WireError>;

/** Whatever was thrown, as an answer of the dialect. */
export function toAnswer(thrown: unknown, nowMs: number): Answer {
  if (thrown instanceof Refusal) return thrown.toAnswer(nowMs);
  const error = toGatewayError(thrown);
  const { code, status, text = error.message }: WireError = ERRORS[error.code];
  const headers: Record<string, string> = {
    ...(error.retryAfterSeconds !== undefined && { 'Retry-After': String(error.retryAfterSeconds) }),
    ...(code === CODE.invalidKey && { 'WWW-Authenticate': 'Bearer' }),
  };
  const httpStatus = status ?? mediaTypeStatus(thrown);
  const parts = { headers, ...(httpStatus !== undefined && { httpStatus }) };
  return new Refusal(code, text, error.code, parts).toAnswer(nowMs);
}

/** The framework's own code for a body that is not JSON by its type. */
function mediaTypeStatus(thrown: unknown): number | undefined {
  return (thrown as { code?: unknown }).code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE' ? 415 : undefined;
}

export function sendAnswer(
  reply: FastifyReply,
  { httpStatus, headers, envelope, storedBody }: Answer,
): FastifyReply {
  return reply
    .code(httpStatus)
    .headers(headers)
    .type('application/json; charset=utf-8')
    .send(storedBody ?? JSON.stringify(envelope));
}

/** Vouchers are money, and balances are for one caller at one moment. */
const EVERY_ANSWER = { 'Cache-Control': 'no-store' };

/** Answers in the envelope. What fails before any hook has run lacks the headers of every answer. */
export function errorsInEnvelope(clock: Clock): ErrorAnswer {
  return (thrown, request, reply) => {
    const refused = toAnswer(thrown, clock.nowMs());
    logProblem(request, thrown, refused);
    return sendAnswer(reply.headers(EVERY_ANSWER), refused);
  };
}

/** Answers everything that is thrown below the prefix in the envelope. */
export function answerInEnvelope(app: FastifyInstance, clock: Clock): void {
  app.addHook('onRequest', async (_request, reply) => {
    void reply.headers(EVERY_ANSWER);
  });
  app.setErrorHandler(errorsInEnvelope(clock));
}

/** A part's own error stays out of the log: it can hold a URL, and the URL a key. */
function logProblem(request: FastifyRequest, thrown: unknown, { httpStatus }: Answer): void {
  if (httpStatus === 500) request.log.error({ err: thrown }, 'request failed');
  else if (httpStatus === 503)
    request.log.warn({ code: toGatewayError(thrown).code }, 'a part is not available');
}

/**
 * Refuses unknown paths, and known paths with another method, before anything of the request is read.
 * @param routes patterns of the paths below the prefix with their methods
 */
export function refuseUnknown(
  app: FastifyInstance,
  prefix: string,
  routes: readonly { path: RegExp; methods: readonly string[] }[],
): void {
  app.setNotFoundHandler(async () => {
    throw new GatewayError('not_found', 'there is no such route');
  });
  app.addHook('onRequest', async (request, reply) => {
    if (!request.is404) return;
    const [path = ''] = request.url.split('?', 1);
    const known = routes.find(route => route.path.test(path.slice(prefix.length)));
    if (!known) throw new GatewayError('not_found', 'there is no such route');
    void reply.header('Allow', known.methods.join(', '));
    throw new GatewayError('method_not_allowed', 'this route has another method');
  });
}
