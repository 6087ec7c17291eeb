import type { IncomingHttpHeaders } from 'node:http';
import { decodeBase64Json } from '../../lib/base64.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { ExactPayment } from '../../ports/payment.ts';
import { decodeExactPayment } from '../../protocols/x402-exact.ts';
import type { PaymentOption } from '../../topups/types.ts';
import { REFUSED_BY_FORM } from './reasons.ts';

/** Each version has a header of its own, and its receipt goes back in the matching one. */
const HEADERS = { 1: 'x-payment', 2: 'payment-signature' } as const;

export type X402Version = keyof typeof HEADERS;

/** A payment that could be read, or the x402 reason why it is not the one that was offered. */
export type PresentedPayment =
  | { kind: 'payment'; version: X402Version; payment: ExactPayment }
  | { kind: 'refused'; reason: string };

/**
 * Reads the payment of a request against the one way to pay that its key is offered.
 * @returns undefined when there is none
 * @throws GatewayError when it has not the form of a payment, or there are two: crediting either would be
 * a guess
 */
export function readPayment(
  headers: IncomingHttpHeaders,
  option: PaymentOption,
): PresentedPayment | undefined {
  const present = ([1, 2] as const).filter(version => headers[HEADERS[version]] !== undefined);
  const [version, other] = present;
  if (version === undefined) return undefined;
  const header = String(headers[HEADERS[version]]);
  // Node joins a repeated header with a comma, which base64 does not contain.
  if (other !== undefined || header.includes(',')) {
    throw new GatewayError('payment_malformed', 'send one payment, in one payment header');
  }
  const stated = statedVersion(header);
  if (stated !== undefined && stated !== version) return { kind: 'refused', reason: 'invalid_x402_version' };
  try {
    return { kind: 'payment', version, payment: decodeExactPayment(header, [option]) };
  } catch (error) {
    const reason = error instanceof GatewayError ? REFUSED_BY_FORM[error.code] : undefined;
    if (reason === undefined) throw error;
    return { kind: 'refused', reason };
  }
}

/** The number that the payment gives as its version, if it is readable at all. */
function statedVersion(header: string): number | undefined {
  const root = decodeBase64Json(header) as { x402Version?: unknown } | null | undefined;
  return typeof root?.x402Version === 'number' ? root.x402Version : undefined;
}
