import { concatHex, type Hex, hexToBytes, keccak256, padHex, stringToHex, toHex } from 'viem';

/**
 * EIP-3009 (transfer with authorization) in bytes: what a payer signs, what we send, what the token logs.
 * Written out by hand because it is the hot path: the generic typed-data encoder costs several times more
 * than the two hashes that are needed.
 */

/** The fields a payer signs; addresses and nonce are lower-case 0x hex. */
export interface TransferAuthorization {
  from: string;
  to: string;
  value: bigint;
  validAfter: bigint;
  validBefore: bigint;
  nonce: string;
}

/** EIP-712 domain of a token contract. */
export interface TokenDomain {
  name: string;
  version: string;
  chainId: number;
  verifyingContract: string;
}

const hashText = (text: string): Hex => keccak256(stringToHex(text));

const DOMAIN_TYPEHASH = hashText(
  'EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)',
);
const TRANSFER_TYPEHASH = hashText(
  'TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)',
);

const selector = (signature: string): string => hashText(signature).slice(2, 10);

const TRANSFER_VRS = selector(
  'transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)',
);
const TRANSFER_BYTES = selector(
  'transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)',
);
const AUTHORIZATION_STATE = selector('authorizationState(address,bytes32)');
const BALANCE_OF = selector('balanceOf(address)');

/** Topics of the events that prove what became of an authorization. */
export const EIP3009_TOPICS = {
  transfer: hashText('Transfer(address,address,uint256)'),
  authorizationUsed: hashText('AuthorizationUsed(address,bytes32)'),
  authorizationCanceled: hashText('AuthorizationCanceled(address,bytes32)'),
} as const;

const word = (value: bigint): string => value.toString(16).padStart(64, '0');
const addressWord = (address: string): string => address.slice(2).padStart(64, '0');

/** The domain separator, computed once per token. */
export function domainSeparator(domain: TokenDomain): Hex {
  return keccak256(
    concatHex([
      DOMAIN_TYPEHASH,
      hashText(domain.name),
      hashText(domain.version),
      toHex(domain.chainId, { size: 32 }),
      padHex(domain.verifyingContract as Hex, { size: 32 }),
    ]),
  );
}

/** The 32 bytes that the payer's key signs (EIP-712 digest). */
export function authorizationDigest(separator: Hex, authorization: TransferAuthorization): Uint8Array {
  const structHash = keccak256(`${TRANSFER_TYPEHASH}${authorizationWords(authorization)}`);
  return keccak256(hexToBytes(`0x1901${separator.slice(2)}${structHash.slice(2)}`), 'bytes');
}

function authorizationWords(a: TransferAuthorization): string {
  return [
    addressWord(a.from),
    addressWord(a.to),
    word(a.value),
    word(a.validAfter),
    word(a.validBefore),
    a.nonce.slice(2),
  ].join('');
}

/**
 * Call data of `transferWithAuthorization`. A 65-byte signature takes the (v, r, s) form that every EIP-3009
 * token has, anything else the bytes form that contract wallets need.
 */
export function transferCallData(authorization: TransferAuthorization, signature: string): Hex {
  const words = authorizationWords(authorization);
  const hex = signature.slice(2);
  if (hex.length === 130) {
    const v = Number.parseInt(hex.slice(128), 16);
    return `0x${TRANSFER_VRS}${words}${word(BigInt(v < 27 ? v + 27 : v))}${hex.slice(0, 128)}`;
  }
  const length = hex.length / 2;
  const padded = hex.padEnd(Math.ceil(length / 32) * 64, '0');
  return `0x${TRANSFER_BYTES}${words}${word(7n * 32n)}${word(BigInt(length))}${padded}`;
}

/** Unix seconds from which on the token refuses this call; undefined when it is another call. */
export function readValidBefore(data: string): bigint | undefined {
  const call = data.slice(2);
  if (!call.startsWith(TRANSFER_VRS) && !call.startsWith(TRANSFER_BYTES)) return undefined;
  return BigInt(`0x${call.slice(8 + 4 * 64, 8 + 5 * 64)}`);
}

/** Call data that asks whether the payer's nonce is consumed (used or cancelled). */
export function authorizationStateCallData(from: string, nonce: string): Hex {
  return `0x${AUTHORIZATION_STATE}${addressWord(from)}${nonce.slice(2)}`;
}

export function balanceOfCallData(address: string): Hex {
  return `0x${BALANCE_OF}${addressWord(address)}`;
}

/** The 32-byte topic form of an address. */
export function addressTopic(address: string): string {
  return `0x${addressWord(address)}`;
}

/** The address in a 32-byte topic. */
export function topicAddress(topic: string | undefined): string {
  return `0x${(topic ?? '').slice(-40)}`;
}
