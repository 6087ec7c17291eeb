import { decodeBase64Json } from '../lib/base64.ts';
import { type ErrorCode, GatewayError } from '../lib/errors.ts';
import { canonicalEvmAddress } from '../lib/evm-address.ts';
import type { Eip3009Authorization, Eip3009Payment, ExactPayment } from '../ports/payment.ts';

/** What the decoder must know of a way to pay: the addresses in lower case. */
export interface ExactOption {
  /** CAIP-2, e.g. `eip155:8453`. */
  network: string;
  /** The name that x402 version 1 uses for it, e.g. `base`. */
  networkAlias: string;
  asset: string;
  payTo: string;
}

const MAX_UINT256 = 2n ** 256n - 1n;
const UINT = /^(?:0|[1-9]\d{0,77})$/;
const BYTES32 = /^0x[0-9a-fA-F]{64}$/;
const HEX = /^0x(?:[0-9a-fA-F]{2})+$/;
const ZERO_ADDRESS = `0x${'0'.repeat(40)}`;

/** Longer than any honest payment; the HTTP server's own limit for all headers together is the same. */
const MAX_HEADER_LENGTH = 16_384;

/** A contract wallet's signature may be long; nobody needs more than this, and it is stored. */
const MAX_SIGNATURE_BYTES = 4096;

type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads the value of a payment header: base64 of a JSON payment payload of the scheme `exact` on an EVM
 * network. Three shapes are in use, and which one is sent does not depend on the version number alone:
 * the chosen requirements in `accepted` (version 2), or `scheme` and `network` at the top (version 1, and
 * clients that put version 2 on the older shape).
 *
 * Only the form and the destination are checked here. Amount limits belong to the caller; signature,
 * validity window and balance to the verification.
 * @param options the ways to pay that are offered; their order decides nothing
 * @returns the payment with addresses and hex in lower case
 * @throws GatewayError payment_malformed, payment_unusable, unsupported_network, unsupported_scheme,
 * unsupported_asset, recipient_mismatch, invalid_payer or invalid_amount, with `details.field`
 */
export function decodeExactPayment(header: string, options: readonly ExactOption[]): ExactPayment {
  const root = objectOf(header.length <= MAX_HEADER_LENGTH ? decodeBase64Json(header) : undefined, 'payment');
  const version = root['x402Version'];
  if (version !== 1 && version !== 2) {
    throw refusal('payment_malformed', 'x402Version', 'x402Version must be 1 or 2');
  }
  const option = 'accepted' in root ? acceptedOption(root, version, options) : namedOption(root, options);
  const payload = objectOf(root['payload'], 'payload');
  return evmPayment(option, readAuthorization(payload, option));
}

/** Version 2: the payer repeats the requirements that it chose. */
function acceptedOption(root: Fields, version: number, options: readonly ExactOption[]): ExactOption {
  if (version !== 2) {
    throw refusal('payment_malformed', 'accepted', 'accepted belongs to x402Version 2');
  }
  const accepted = objectOf(root['accepted'], 'accepted');
  requireExactScheme(accepted, 'accepted.scheme');
  const onNetwork = optionsOnNetwork(accepted, 'accepted.network', options);
  const asset = canonicalEvmAddress(textOf(accepted, 'asset', 'accepted.asset'));
  const withAsset = onNetwork.filter(option => option.asset === asset);
  if (withAsset.length === 0) {
    throw refusal('unsupported_asset', 'accepted.asset', 'this token is not accepted on this network');
  }
  const payTo = canonicalEvmAddress(textOf(accepted, 'payTo', 'accepted.payTo'));
  const option = withAsset.find(candidate => candidate.payTo === payTo);
  if (!option) throw wrongRecipient('accepted.payTo');
  return option;
}

/**
 * The older shape names no token. The signature does: it binds the token's address, so a permission for
 * any other token than the first one offered on the network fails verification.
 */
function namedOption(root: Fields, options: readonly ExactOption[]): ExactOption {
  requireExactScheme(root, 'scheme');
  const [option] = optionsOnNetwork(root, 'network', options);
  return option;
}

function requireExactScheme(from: Fields, field: string): void {
  if (textOf(from, 'scheme', field) !== 'exact') {
    throw refusal('unsupported_scheme', field, 'only the scheme exact is accepted');
  }
}

function optionsOnNetwork(
  from: Fields,
  field: string,
  options: readonly ExactOption[],
): [ExactOption, ...ExactOption[]] {
  const network = textOf(from, 'network', field);
  const [first, ...others] = options.filter(
    option => option.network.startsWith('eip155:') && [option.network, option.networkAlias].includes(network),
  );
  if (!first) throw refusal('unsupported_network', field, 'this network is not accepted');
  return [first, ...others];
}

function readAuthorization(payload: Fields, option: ExactOption): Eip3009Authorization {
  if (!('authorization' in payload) && ('permit2Authorization' in payload || 'transaction' in payload)) {
    throw refusal(
      'payment_unusable',
      'payload',
      'only EIP-3009 transferWithAuthorization payments are accepted on this network',
    );
  }
  const path = 'payload.authorization';
  const authorization = objectOf(payload['authorization'], path);
  const from = readPayer(authorization);
  const to = authorization['to'];
  if (typeof to !== 'string' || canonicalEvmAddress(to) !== option.payTo) throw wrongRecipient(`${path}.to`);
  const value = uintOf(authorization['value']);
  if (value === undefined || value === 0n) {
    throw refusal(
      'invalid_amount',
      `${path}.value`,
      'the amount must be a positive integer of base units, as a decimal string',
    );
  }
  const nonce = authorization['nonce'];
  if (typeof nonce !== 'string' || !BYTES32.test(nonce)) {
    throw refusal('payment_malformed', `${path}.nonce`, 'the nonce must be 32 bytes as 0x hex');
  }
  return {
    from,
    to: option.payTo,
    value,
    validAfter: readTime(authorization, 'validAfter'),
    validBefore: readTime(authorization, 'validBefore'),
    nonce: nonce.toLowerCase(),
    signature: readSignature(payload),
  };
}

function readPayer(authorization: Fields): string {
  const from = authorization['from'];
  const payer = typeof from === 'string' ? canonicalEvmAddress(from) : undefined;
  if (payer === undefined || payer === ZERO_ADDRESS) {
    throw refusal('invalid_payer', 'payload.authorization.from', 'the paying address is missing or invalid');
  }
  return payer;
}

function readTime(authorization: Fields, name: 'validAfter' | 'validBefore'): bigint {
  const time = uintOf(authorization[name]);
  if (time !== undefined) return time;
  throw refusal(
    'payment_malformed',
    `payload.authorization.${name}`,
    `${name} must be Unix seconds as a decimal string`,
  );
}

function readSignature(payload: Fields): string {
  const signature = payload['signature'];
  if (
    typeof signature !== 'string' ||
    signature.length > 2 + 2 * MAX_SIGNATURE_BYTES ||
    !HEX.test(signature)
  ) {
    throw refusal('payment_malformed', 'payload.signature', 'the signature must be 0x hex');
  }
  return signature.toLowerCase();
}

function evmPayment(option: ExactOption, authorization: Eip3009Authorization): Eip3009Payment {
  const chainId = option.network.slice('eip155:'.length);
  return {
    kind: 'eip3009',
    scheme: 'exact',
    network: option.network,
    asset: option.asset,
    payTo: option.payTo,
    payer: authorization.from,
    amountBaseUnits: authorization.value,
    identity: `eip3009:${chainId}:${option.asset}:${authorization.from}:${authorization.nonce}`,
    authorization,
  };
}

/** A uint256 as x402 writes it: decimal digits in a string, one spelling per number. */
function uintOf(value: unknown): bigint | undefined {
  if (typeof value !== 'string' || !UINT.test(value)) return undefined;
  const integer = BigInt(value);
  return integer <= MAX_UINT256 ? integer : undefined;
}

function objectOf(value: unknown, field: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  const text =
    field === 'payment' ? 'the payment header is not base64 of a JSON object' : `${field} is missing`;
  throw refusal('payment_malformed', field, text);
}

function textOf(from: Fields, name: string, field: string): string {
  const value = from[name];
  if (typeof value === 'string') return value;
  throw refusal('payment_malformed', field, `${field} is missing`);
}

function wrongRecipient(field: string): GatewayError {
  return refusal('recipient_mismatch', field, 'the payment is not addressed to the offered receiver');
}

function refusal(code: ErrorCode, field: string, message: string): GatewayError {
  return new GatewayError(code, message, { details: { field } });
}
