import type { IncomingHttpHeaders } from 'node:http';
import { GatewayError } from '../../lib/errors.ts';

/** Canonical name first, then the names of older clients. */
export const PAYMENT_HEADERS = ['PAYMENT-SIGNATURE', 'X-402-Payment', 'X-PAYMENT'] as const;
export const PROOF_HEADERS = ['SIGN-IN-WITH-X', 'X-Sign-In-With-X'] as const;

/**
 * @returns the signed payment, or undefined when there is none
 * @throws GatewayError `payment_malformed` when more than one payment is presented: crediting either
 * would be a guess
 */
export function readPaymentHeader(headers: IncomingHttpHeaders): string | undefined {
  return readOne(headers, PAYMENT_HEADERS, () => {
    return new GatewayError('payment_malformed', 'send one payment, in one payment header');
  });
}

/**
 * @returns the sign-in proof, or undefined when there is none
 * @throws GatewayError `proof_invalid` when there are several
 */
export function readProofHeader(headers: IncomingHttpHeaders): string | undefined {
  return readOne(headers, PROOF_HEADERS, () => {
    return new GatewayError('proof_invalid', 'send one sign-in proof, in one header', {
      details: { reason: 'PARSE_ERROR' },
    });
  });
}

/**
 * The same value under several names is one value: a client may serve old and new servers at once. Node
 * joins a repeated header with a comma, which base64 does not contain.
 */
function readOne(
  headers: IncomingHttpHeaders,
  names: readonly string[],
  ambiguous: () => GatewayError,
): string | undefined {
  const values = new Set<string>();
  for (const name of names) {
    const value = headers[name.toLowerCase()];
    if (value !== undefined) values.add(String(value));
  }
  const [only, ...others] = values;
  if (others.length > 0 || only?.includes(',')) throw ambiguous();
  return only;
}
