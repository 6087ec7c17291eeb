/**
 * Every refusal the gateway can give. No HTTP status here: each surface maps every code to its own
 * wire shape (`satisfies Record<ErrorCode, …>`), so the compiler lists what a new code still needs.
 */
export const ERROR_CODES = [
  'internal',
  'malformed_request',
  'payload_too_large',
  'not_found',
  'method_not_allowed',
  'unauthorized',
  'forbidden',
  'address_not_allowed',
  'rate_limited',
  'too_many_at_once',
  'unavailable',
  'conflict',
  'payments_not_configured',
  'payment_not_accepted_here',
  'payment_malformed',
  'payment_unusable',
  'unsupported_network',
  'unsupported_scheme',
  'unsupported_asset',
  'recipient_mismatch',
  'invalid_payer',
  'invalid_amount',
  'amount_too_low',
  'amount_too_high',
  'verification_failed',
  'settlement_failed',
  'payment_conflict',
  'payment_in_progress',
  'settlement_pending',
  'proof_required',
  'proof_invalid',
  'proof_of_other_wallet',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

export interface GatewayErrorOptions {
  /** Safe to show to the caller: never a secret, never text of an internal cause. */
  details?: Record<string, unknown>;
  retryAfterSeconds?: number;
  cause?: unknown;
}

/** A refusal with a stable code; `message` is safe to show to the caller. */
export class GatewayError extends Error {
  readonly code: ErrorCode;
  readonly details: Record<string, unknown> | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, options: GatewayErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'GatewayError';
    this.code = code;
    this.details = options.details;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** A part we depend on (database, chain RPC, facilitator) did not answer; nothing was submitted. */
export function unavailable(part: string, cause?: unknown): GatewayError {
  return new GatewayError('unavailable', `${part} is not available, please try again shortly`, {
    retryAfterSeconds: 2,
    cause,
  });
}
