import { type ErrorCode, GatewayError } from '../lib/errors.ts';

/** A JSON object whose fields are not believed yet. */
export type Fields = Readonly<Record<string, unknown>>;

export function objectOf(value: unknown, field: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  const text =
    field === 'payment' ? 'the payment header is not base64 of a JSON object' : `${field} is missing`;
  throw refusal('payment_malformed', field, text);
}

export function textOf(from: Fields, name: string, field: string): string {
  const value = from[name];
  if (typeof value === 'string') return value;
  throw refusal('payment_malformed', field, `${field} is missing`);
}

export function wrongRecipient(field: string): GatewayError {
  return refusal('recipient_mismatch', field, 'the payment is not addressed to the offered receiver');
}

export function refusal(code: ErrorCode, field: string, message: string): GatewayError {
  return new GatewayError(code, message, { details: { field } });
}
