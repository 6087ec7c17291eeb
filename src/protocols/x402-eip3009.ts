import { canonicalEvmAddress } from '../lib/evm-address.ts';
import type { Eip3009Authorization, Eip3009Payment } from '../ports/payment.ts';
import { type Fields, objectOf, refusal, wrongRecipient } from './x402-fields.ts';
import type { ExactOption } from './x402-option.ts';

const MAX_UINT256 = 2n ** 256n - 1n;
const UINT = /^(?:0|[1-9]\d{0,77})$/;
const BYTES32 = /^0x[0-9a-fA-F]{64}$/;
const HEX = /^0x(?:[0-9a-fA-F]{2})+$/;
const ZERO_ADDRESS = `0x${'0'.repeat(40)}`;

/** A contract wallet's signature may be long; nobody needs more than this, and it is stored. */
const MAX_SIGNATURE_BYTES = 4096;

/** Reads the payload of a payment on an EVM network: an EIP-3009 authorization with its signature. */
export function readEip3009Payment(payload: Fields, option: ExactOption): Eip3009Payment {
  const authorization = readAuthorization(payload, option);
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

/** A uint256 as x402 writes it: decimal digits in a string, one spelling per number. */
function uintOf(value: unknown): bigint | undefined {
  if (typeof value !== 'string' || !UINT.test(value)) return undefined;
  const integer = BigInt(value);
  return integer <= MAX_UINT256 ? integer : undefined;
}
