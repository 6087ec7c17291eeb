import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorCode, GatewayError } from '../lib/errors.ts';

/** HTTP status of each code on our own routes; dialects have tables of their own. */
const STATUS = {
  internal: 500,
  malformed_request: 400,
  payload_too_large: 413,
  not_found: 404,
  method_not_allowed: 405,
  unauthorized: 401,
  forbidden: 403,
  address_not_allowed: 403,
  rate_limited: 429,
  too_many_at_once: 429,
  unavailable: 503,
  conflict: 409,
  payments_not_configured: 503,
  payment_not_accepted_here: 400,
  payment_malformed: 400,
  payment_unusable: 400,
  unsupported_network: 400,
  unsupported_scheme: 400,
  unsupported_asset: 400,
  recipient_mismatch: 400,
  invalid_payer: 400,
  invalid_amount: 400,
  amount_too_low: 400,
  amount_too_high: 400,
  verification_failed: 402,
  settlement_failed: 402,
  payment_conflict: 409,
  payment_in_progress: 409,
  settlement_pending: 202,
  proof_required: 401,
  proof_invalid: 401,
  proof_of_other_wallet: 403,
} as const satisfies Record<ErrorCode, number>;

/** Answers whatever was thrown in one form. */
export type ErrorAnswer = (thrown: unknown, request: FastifyRequest, reply: FastifyReply) => FastifyReply;

/** The framework's own codes for a path that it cannot decode, or with a part that is too long for it. */
const UNREADABLE_PATH = new Set(['FST_ERR_BAD_URL', 'FST_ERR_MAX_PARAM_LENGTH']);

/**
 * Brings whatever was thrown to a GatewayError: framework errors keep their meaning, everything unknown
 * becomes `internal` without a word of its cause.
 */
export function toGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  const { code, validation, statusCode, message } = error as Partial<FastifyError>;
  if (validation) {
    return new GatewayError('malformed_request', message ?? 'the request does not match the schema', {
      details: {
        problems: validation.map(v => `${v.instancePath || 'request'} ${v.message ?? 'is invalid'}`),
      },
    });
  }
  if (code !== undefined && UNREADABLE_PATH.has(code)) {
    const problem = 'the path cannot be read';
    return new GatewayError('malformed_request', problem, { details: { problems: [problem] } });
  }
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new GatewayError('payload_too_large', 'the body is too large');
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new GatewayError('malformed_request', message ?? 'bad request');
  }
  return new GatewayError('internal', 'internal error', { cause: error });
}

/** Error shape of our own routes: `{ error, message, details? }`. */
export function setDefaultErrors(app: FastifyInstance): void {
  app.setErrorHandler(answerByDefault);
  app.setNotFoundHandler((request: FastifyRequest, reply: FastifyReply) =>
    sendDefault(
      reply,
      new GatewayError('not_found', `there is no route ${request.method} ${request.url.split('?')[0]}`),
    ),
  );
}

export const answerByDefault: ErrorAnswer = (thrown, request, reply) => {
  const refusal = toGatewayError(thrown);
  if (refusal.code === 'internal') request.log.error({ err: refusal.cause }, 'request failed');
  return sendDefault(reply, refusal);
};

function sendDefault(reply: FastifyReply, error: GatewayError): FastifyReply {
  if (error.retryAfterSeconds !== undefined) void reply.header('retry-after', error.retryAfterSeconds);
  return reply
    .code(STATUS[error.code])
    .header('cache-control', 'no-store')
    .send({
      error: error.code,
      message: error.message,
      ...(error.details ? { details: error.details } : {}),
    });
}
