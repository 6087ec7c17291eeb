import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorAnswer, toGatewayError } from '../../http/errors.ts';
import { type ErrorCode, GatewayError } from '../../lib/errors.ts';
import { EVERY_ANSWER } from './cors.ts';

interface WireError {
  status: number;
  /** Replaces the error's own message. */
  text?: string;
}

/** Errors here are text. The one exception, the JSON of a top-up's 402, is an offer and made in `offer.ts`. */
export const ERRORS = {
  // A fixed text: that of an unexpected error may quote a query, a URL or a key.
  internal: { status: 500, text: 'internal error' },
  malformed_request: { status: 400 },
  payload_too_large: { status: 413 },
  not_found: { status: 404 },
  method_not_allowed: { status: 405 },
  unauthorized: { status: 401, text: 'invalid or missing API key' },
  forbidden: { status: 403 },
  // The same words as for a key that is unknown: a stolen key must not tell that it is a good one.
  address_not_allowed: { status: 401, text: 'invalid or missing API key' },
  rate_limited: { status: 429 },
  too_many_at_once: { status: 429 },
  unavailable: { status: 503 },
  conflict: { status: 409 },
  payments_not_configured: { status: 503 },
  payment_not_accepted_here: { status: 400 },
  payment_malformed: { status: 400 },
  payment_unusable: { status: 400 },
  unsupported_network: { status: 400 },
  unsupported_scheme: { status: 400 },
  unsupported_asset: { status: 400 },
  recipient_mismatch: { status: 400 },
  invalid_payer: { status: 400 },
  invalid_amount: { status: 400 },
  amount_too_low: { status: 400 },
  amount_too_high: { status: 400 },
  verification_failed: { status: 400 },
  settlement_failed: { status: 400 },
  payment_conflict: { status: 409 },
  payment_in_progress: { status: 503 },
  settlement_pending: { status: 503 },
  proof_required: { status: 401 },
  proof_invalid: { status: 401 },
  proof_of_other_wallet: { status: 401 },
} satisfies Record<ErrorCode, WireError>;

/** Answers with one line of text. What fails before any hook has run lacks the headers of every answer. */
export const answerInText: ErrorAnswer = (thrown, request, reply) => {
  const error = toGatewayError(thrown);
  logRefusal(request, error, thrown);
  return sendText(reply.headers(EVERY_ANSWER), error);
};

/**
 * Refuses unknown paths, and known paths with another method, before anything of the request is read.
 * @param allowedMethods by path
 */
export function refuseUnknown(
  app: FastifyInstance,
  allowedMethods: Readonly<Record<string, readonly string[]>>,
): void {
  // What is unknown here belongs to this plugin, and so to its hooks, only because it has a handler for it.
  app.setNotFoundHandler(async () => {
    throw unknownPath();
  });
  app.addHook('onRequest', async (request, reply) => {
    if (!request.is404) return;
    const [path = ''] = request.url.split('?', 1);
    const allowed = Object.hasOwn(allowedMethods, path) ? allowedMethods[path] : undefined;
    if (!allowed) throw unknownPath();
    void reply.header('Allow', allowed.join(', '));
    throw new GatewayError('method_not_allowed', 'method not allowed');
  });
}

function unknownPath(): GatewayError {
  return new GatewayError('not_found', 'there is no such path');
}

function sendText(reply: FastifyReply, { code, message, retryAfterSeconds }: GatewayError): FastifyReply {
  const { status, text = message }: WireError = ERRORS[code];
  if (retryAfterSeconds !== undefined) void reply.header('Retry-After', retryAfterSeconds);
  if (status === 401) void reply.header('WWW-Authenticate', 'Bearer');
  return reply.code(status).type('text/plain; charset=utf-8').send(text.replace(/\s+/g, ' '));
}

/**
 * The cause of an unavailable part stays out of the log: the text of a node's error can hold its URL, and
 * the URL a key.
 */
function logRefusal(request: FastifyRequest, error: GatewayError, thrown: unknown): void {
  if (error.code === 'internal') request.log.error({ err: thrown }, 'request failed');
  else if (error.code === 'unavailable') request.log.warn({ code: error.code }, error.message);
}
