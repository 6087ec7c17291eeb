import type { IncomingHttpHeaders } from 'node:http';
import { decodeBase64Json } from '../../lib/base64.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { ExactPayment } from '../../ports/payment.ts';
import { decodeExactPayment } from '../../protocols/x402-exact.ts';
import type { PaymentOption } from '../../topups/types.ts';
import { readAnswerTag } from './answer-token.ts';

/** The pages say `x-payment` and the scripts on them send `PAYMENT-SIGNATURE`: either is taken for any version. */
const HEADERS = ['payment-signature', 'x-payment'] as const;

/** A payment that could be read, or why it is not one of those that were offered. */
export type PresentedPayment =
  | { kind: 'payment'; version: 1 | 2; payment: ExactPayment; answerTag: string | undefined }
  | { kind: 'refused'; reason: string };

/**
 * Reads the payment of a request.
 * @returns undefined when there is none
 * @throws GatewayError payment_malformed when it has not the form of a payment, or there are two: taking either
 * would be a guess
 */
export function readPayment(
  headers: IncomingHttpHeaders,
  options: readonly PaymentOption[],
): PresentedPayment | undefined {
  const values = new Set(HEADERS.flatMap(name => headers[name] ?? []));
  const [header, ...others] = values;
  if (header === undefined) return undefined;
  // Node joins a repeated header with a comma, which base64 does not contain.
  if (others.length > 0 || header.includes(',')) {
    throw new GatewayError('payment_malformed', 'send one payment, in one payment header');
  }
  try {
    const payment = decodeExactPayment(header, options);
    const root = decodeBase64Json(header) as { x402Version?: unknown };
    const version = root.x402Version === 1 ? 1 : 2;
    return { kind: 'payment', version, payment, answerTag: readAnswerTag(root) };
  } catch (error) {
    if (!(error instanceof GatewayError) || error.code === 'payment_malformed') throw error;
    return { kind: 'refused', reason: error.message };
  }
}
