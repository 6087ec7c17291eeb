import { type ErrorCode, GatewayError } from '../lib/errors.ts';
import { canonicalEvmAddress } from '../lib/evm-address.ts';

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

const MAX_UINT256 = 2n ** 256n - 1n;
const UINT = /^(?:0|[1-9]\d{0,77})$/;
const HEX = /^0x(?:[0-9a-fA-F]{2})+$/;

/** A contract wallet's signature may be long; nobody needs more than this, and it is stored. */
const MAX_SIGNATURE_BYTES = 4096;

/** A uint256 as x402 writes it: decimal digits in a string, one spelling per number. */
export function uintOf(value: unknown): bigint | undefined {
  if (typeof value !== 'string' || !UINT.test(value)) return undefined;
  const integer = BigInt(value);
  return integer <= MAX_UINT256 ? integer : undefined;
}

/** Unix seconds as a decimal string. */
export function timeOf(from: Fields, name: string, path: string): bigint {
  const time = uintOf(from[name]);
  if (time !== undefined) return time;
  throw refusal('payment_malformed', `${path}.${name}`, `${name} must be Unix seconds as a decimal string`);
}

/** A positive number of base units as a decimal string. */
export function amountOf(value: unknown, field: string): bigint {
  const amount = uintOf(value);
  if (amount !== undefined && amount > 0n) return amount;
  throw refusal(
    'invalid_amount',
    field,
    'the amount must be a positive integer of base units, as a decimal string',
  );
}

/** A signature as lower-case 0x hex. */
export function signatureOf(value: unknown, field: string): string {
  if (typeof value !== 'string' || value.length > 2 + 2 * MAX_SIGNATURE_BYTES || !HEX.test(value)) {
    throw refusal('payment_malformed', field, 'the signature must be 0x hex');
  }
  return value.toLowerCase();
}

const ZERO_ADDRESS = `0x${'0'.repeat(40)}`;

/** The paying account on an EVM network, in lower case. */
export function evmPayerOf(value: unknown, field: string): string {
  const payer = typeof value === 'string' ? canonicalEvmAddress(value) : undefined;
  if (payer !== undefined && payer !== ZERO_ADDRESS) return payer;
  throw refusal('invalid_payer', field, 'the paying address is missing or invalid');
}
