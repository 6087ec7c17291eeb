import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type ErrorAnswer, toGatewayError } from '../../http/errors.ts';
import { type ErrorCode, GatewayError } from '../../lib/errors.ts';
import { EVERY_ANSWER } from './cors.ts';

interface WireError {
  status: number;
  body: (error: GatewayError) => object;
}

/** `{ error: CODE, message, details? }`: the form of the top-up route, where clients show `error`. */
function coded(status: number, code: string): WireError {
  return {
    status,
    body: ({ message, details }) => ({ error: code, message, ...(details && { details }) }),
  };
}

/** `{ error: text }`: the form of the wallet routes. */
function plain(status: number, text?: string): WireError {
  return { status, body: ({ message }) => ({ error: text ?? message }) };
}

const rateLimited = plain(429, 'Rate limit exceeded. Please try again later.');

/** `POST /api/v1/x402/top-up`. */
export const TOPUP_ERRORS = {
  // A fixed text: that of an unexpected error may quote a query, a URL or a key.
  internal: { status: 500, body: () => ({ error: 'INTERNAL_ERROR', message: 'Internal server error' }) },
  malformed_request: coded(400, 'INVALID_REQUEST'),
  payload_too_large: coded(413, 'PAYLOAD_TOO_LARGE'),
  not_found: coded(404, 'NOT_FOUND'),
  method_not_allowed: coded(405, 'METHOD_NOT_ALLOWED'),
  unauthorized: coded(401, 'UNAUTHORIZED'),
  forbidden: coded(403, 'FORBIDDEN'),
  address_not_allowed: coded(403, 'FORBIDDEN'),
  rate_limited: rateLimited,
  too_many_at_once: rateLimited,
  unavailable: coded(503, 'SERVICE_UNAVAILABLE'),
  conflict: coded(409, 'CONFLICT'),
  payments_not_configured: coded(503, 'X402_NOT_CONFIGURED'),
  payment_not_accepted_here: coded(400, 'PAYMENT_HEADER_NOT_ACCEPTED'),
  payment_malformed: coded(400, 'INVALID_PAYMENT_FORMAT'),
  payment_unusable: coded(400, 'INVALID_PAYMENT'),
  unsupported_network: coded(400, 'UNSUPPORTED_NETWORK'),
  unsupported_scheme: coded(400, 'UNSUPPORTED_SCHEME'),
  unsupported_asset: coded(400, 'UNSUPPORTED_TOKEN'),
  recipient_mismatch: coded(400, 'INVALID_PAYMENT_RECIPIENT'),
  invalid_payer: coded(400, 'INVALID_PAYMENT_PAYER'),
  invalid_amount: coded(400, 'INVALID_AMOUNT'),
  amount_too_low: coded(400, 'AMOUNT_TOO_LOW'),
  amount_too_high: coded(400, 'AMOUNT_TOO_HIGH'),
  verification_failed: coded(400, 'PAYMENT_VERIFICATION_FAILED'),
  settlement_failed: coded(402, 'SETTLEMENT_FAILED'),
  payment_conflict: coded(409, 'PAYMENT_ALREADY_PROCESSED'),
  payment_in_progress: coded(409, 'PAYMENT_IN_PROGRESS'),
  settlement_pending: coded(504, 'SETTLEMENT_TIMEOUT'),
  proof_required: coded(402, 'AUTHENTICATION_REQUIRED'),
  proof_invalid: coded(401, 'UNAUTHORIZED'),
  proof_of_other_wallet: coded(403, 'FORBIDDEN'),
} satisfies Record<ErrorCode, WireError>;

/** `GET /api/v1/x402/balance/…` and `/transactions/…`. */
export const WALLET_ERRORS = {
  ...TOPUP_ERRORS,
  malformed_request: {
    status: 400,
    body: ({ details }) => ({ error: 'Invalid request parameters', details: details ?? {} }),
  },
  unauthorized: plain(401),
  address_not_allowed: plain(403),
  proof_required: plain(402),
  proof_invalid: plain(401, 'Invalid Sign-in-with-x signature'),
  proof_of_other_wallet: plain(403),
} satisfies Record<ErrorCode, WireError>;

/** `{ error: text, code }`: the form of the metered routes, where clients show `error` and tell cases apart by `code`. */
function named(status: number, code: string, text?: string): WireError {
  return { status, body: ({ message }) => ({ error: text ?? message, code }) };
}

/** The contract wants a code in every case, and has a text for those that have none of their own. */
function badProof({ message, details }: GatewayError) {
  const reason = details?.['reason'];
  return {
    error: message || 'Sign-in-with-X authentication failed',
    code: `X402_SIGN_IN_${typeof reason === 'string' ? reason : 'INVALID_PAYLOAD'}`,
  };
}

/**
 * Routes that charge a wallet. What is 402 there has a document of its own, made in `payment-required.ts`: no credential
 * at all, and too little credit.
 */
export const METERED_ERRORS = {
  ...WALLET_ERRORS,
  rate_limited: plain(429, 'Rate limit exceeded'),
  too_many_at_once: named(429, 'X402_CONCURRENCY_LIMIT', 'Too many concurrent requests'),
  payment_not_accepted_here: named(400, 'PAYMENT_HEADER_NOT_ACCEPTED'),
  proof_invalid: { status: 401, body: badProof },
} satisfies Record<ErrorCode, WireError>;

/** Answers from the given table. What fails before any hook has run lacks the headers of every answer. */
export function errorHandler(errors: Record<ErrorCode, WireError>): ErrorAnswer {
  return (thrown, request, reply) => {
    const error = toGatewayError(thrown);
    const { status, body } = errors[error.code];
    logRefusal(request, error, thrown);
    if (error.retryAfterSeconds !== undefined) void reply.header('Retry-After', error.retryAfterSeconds);
    return reply
      .code(status)
      .headers(EVERY_ANSWER)
      .type('application/json')
      .send(JSON.stringify(body(error)));
  };
}

/**
 * Refuses unknown paths below the prefix of the plugin, and known paths with another method.
 * @param routes patterns of whole paths with their methods
 */
export function refuseUnknown(
  app: FastifyInstance,
  routes: readonly { path: RegExp; methods: readonly string[] }[],
): void {
  app.setErrorHandler(errorHandler(WALLET_ERRORS));
  app.setNotFoundHandler((request, reply) => {
    const [path = ''] = request.url.split('?', 1);
    const known = routes.find(route => route.path.test(path));
    if (!known) throw new GatewayError('not_found', 'there is no such route');
    void reply.header('Allow', known.methods.join(', '));
    throw new GatewayError('method_not_allowed', 'this route has another method');
  });
}

/**
 * The cause of an unavailable part stays out of the log: the text of a node's error can hold its URL, and
 * the URL a key.
 */
function logRefusal(request: FastifyRequest, error: GatewayError, thrown: unknown): void {
  if (error.code === 'internal') request.log.error({ err: thrown }, 'request failed');
  else if (error.code === 'unavailable') request.log.warn({ code: error.code }, error.message);
}
