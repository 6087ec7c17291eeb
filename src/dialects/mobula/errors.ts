import type { FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorAnswer, toGatewayError } from '../../http/errors.ts';
import type { ErrorCode, GatewayError } from '../../lib/errors.ts';
import { EVERY_ANSWER } from './cors.ts';

/** Status of every refusal. What is wrong with a payment itself is 402 with a fresh offer, made by its rail. */
export const STATUS = {
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
  payment_unusable: 402,
  unsupported_network: 402,
  unsupported_scheme: 402,
  unsupported_asset: 402,
  recipient_mismatch: 402,
  invalid_payer: 402,
  invalid_amount: 402,
  amount_too_low: 403,
  amount_too_high: 403,
  verification_failed: 402,
  settlement_failed: 402,
  payment_conflict: 409,
  payment_in_progress: 503,
  // Never 202, which clients take for success, and never 402, which they pay.
  settlement_pending: 503,
  proof_required: 401,
  proof_invalid: 401,
  proof_of_other_wallet: 403,
} as const satisfies Record<ErrorCode, number>;

/** Answers as `{ error, message, details? }`. What fails before any hook has run lacks the headers of every answer. */
export const answerError: ErrorAnswer = (thrown, request, reply) => {
  const error = toGatewayError(thrown);
  logRefusal(request, error, thrown);
  return sendError(reply.headers(EVERY_ANSWER), error);
};

function sendError(reply: FastifyReply, error: GatewayError): FastifyReply {
  const { code, message, details, retryAfterSeconds } = error;
  if (retryAfterSeconds !== undefined) void reply.header('Retry-After', retryAfterSeconds);
  return reply.code(STATUS[code]).send({ error: code, message, ...(details && { details }) });
}

/** The cause of an unavailable part stays out of the log: a node's error can hold its URL, and that a key. */
export function logRefusal(request: FastifyRequest, error: GatewayError, thrown: unknown): void {
  if (error.code === 'internal') request.log.error({ err: thrown }, 'request failed');
  else if (error.code === 'unavailable') request.log.warn({ code: error.code }, error.message);
}
