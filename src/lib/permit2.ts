import { concatHex, type Hex, hexToBytes, keccak256, padHex, stringToHex, toHex } from 'viem';

/**
 * Permit2 transfers with x402's witness in bytes: what a payer signs, what we send, and how a transaction that
 * carries one is recognised. Permit2 logs nothing when it uses a nonce, so the call data are the only trace.
 */

/** Permit2, at the same address of every chain. https://github.com/Uniswap/permit2 */
export const PERMIT2_ADDRESS = '0x000000000022d473030f116ddee9f6b43ac78ba3';

/** x402's proxy for exact payments: the spender that payers sign. From `@x402/evm` 2.27.0. */
export const EXACT_PROXY_ADDRESS = '0x402085c248eea27d92e8b30b2c58ed07f9e20001';

/** The x402 extension by which a seller pays for the payer's allowance of Permit2 (EIP-2612). */
export const SPONSORING_EXTENSION = 'eip2612GasSponsoring';

/** The fields a payer signs; addresses are lower-case 0x hex. */
export interface TransferPermit {
  from: string;
  to: string;
  token: string;
  amount: bigint;
  /** Unordered: any number that this owner has not used before. */
  nonce: bigint;
  /** Unix seconds; Permit2 refuses later blocks. */
  deadline: bigint;
  /** Unix seconds; the proxy refuses earlier blocks. */
  validAfter: bigint;
}

/** An EIP-2612 permission for Permit2 to move the same amount; `signature` is 65 bytes as 0x hex. */
export interface SponsoredAllowance {
  deadline: bigint;
  signature: string;
}

const hashText = (text: string): Hex => keccak256(stringToHex(text));
const selector = (signature: string): string => hashText(signature).slice(2, 10);
const word = (value: bigint): string => value.toString(16).padStart(64, '0');
const addressWord = (address: string): string => address.slice(2).padStart(64, '0');

const TOKEN_PERMISSIONS = 'TokenPermissions(address token,uint256 amount)';
const WITNESS = 'Witness(address to,uint256 validAfter)';
const TOKEN_PERMISSIONS_TYPEHASH = hashText(TOKEN_PERMISSIONS);
const WITNESS_TYPEHASH = hashText(WITNESS);
const PERMIT_TYPEHASH = hashText(
  `PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)${TOKEN_PERMISSIONS}${WITNESS}`,
);
const DOMAIN_TYPEHASH = hashText('EIP712Domain(string name,uint256 chainId,address verifyingContract)');

const PERMIT = '((address,uint256),uint256,uint256),address,(address,uint256),bytes';
const SETTLE = selector(`settle(${PERMIT})`);
const SETTLE_WITH_PERMIT = selector(`settleWithPermit((uint256,uint256,bytes32,bytes32,uint8),${PERMIT})`);
const NONCE_BITMAP = selector('nonceBitmap(address,uint256)');
const ALLOWANCE = selector('allowance(address,address)');

/** Topic of the event with which an owner gives up nonces that it may have signed for. */
export const NONCE_INVALIDATION_TOPIC = hashText('UnorderedNonceInvalidation(address,uint256,uint256)');

/** Permit2's EIP-712 domain, which has no version. */
export function permit2Separator(chainId: number): Hex {
  return keccak256(
    concatHex([
      DOMAIN_TYPEHASH,
      hashText('Permit2'),
      toHex(chainId, { size: 32 }),
      padHex(PERMIT2_ADDRESS, { size: 32 }),
    ]),
  );
}

/** The 32 bytes that the payer's key signs (EIP-712 digest). */
export function permitDigest(separator: Hex, permit: TransferPermit): Uint8Array {
  const permitted = keccak256(
    `${TOKEN_PERMISSIONS_TYPEHASH}${addressWord(permit.token)}${word(permit.amount)}`,
  );
  const witness = keccak256(`${WITNESS_TYPEHASH}${addressWord(permit.to)}${word(permit.validAfter)}`);
  const structHash = keccak256(
    `${PERMIT_TYPEHASH}${permitted.slice(2)}${addressWord(EXACT_PROXY_ADDRESS)}${word(permit.nonce)}${word(permit.deadline)}${witness.slice(2)}`,
  );
  return keccak256(hexToBytes(`0x1901${separator.slice(2)}${structHash.slice(2)}`), 'bytes');
}

/** The permit as it stands in the call data of the proxy, without 0x: seven words in a row. */
export function permitWords(p: TransferPermit): string {
  return [
    addressWord(p.token),
    word(p.amount),
    word(p.nonce),
    word(p.deadline),
    addressWord(p.from),
    addressWord(p.to),
    word(p.validAfter),
  ].join('');
}

/** Call data for the proxy: `settle`, or `settleWithPermit` for a payer that has not allowed Permit2 before. */
export function settleCallData(
  permit: TransferPermit,
  signature: string,
  allowance: SponsoredAllowance | undefined,
): Hex {
  const hex = signature.slice(2);
  const length = hex.length / 2;
  const tail = `${word(BigInt(length))}${hex.padEnd(Math.ceil(length / 32) * 64, '0')}`;
  const words = permitWords(permit);
  if (!allowance) return `0x${SETTLE}${words}${word(8n * 32n)}${tail}`;
  const compact = allowance.signature.slice(2);
  const v = Number.parseInt(compact.slice(128), 16);
  const approval = `${word(permit.amount)}${word(allowance.deadline)}${compact.slice(0, 128)}${word(BigInt(v < 27 ? v + 27 : v))}`;
  return `0x${SETTLE_WITH_PERMIT}${approval}${words}${word(13n * 32n)}${tail}`;
}

/** Unix seconds after which Permit2 refuses this call of the proxy; undefined when it is another call. */
export function readPermitDeadline(data: string): bigint | undefined {
  const call = data.slice(2);
  const start = call.startsWith(SETTLE) ? 8 : call.startsWith(SETTLE_WITH_PERMIT) ? 8 + 5 * 64 : undefined;
  if (start === undefined) return undefined;
  return BigInt(`0x${call.slice(start + 3 * 64, start + 4 * 64)}`);
}

/**
 * The nonces of all permits of one owner, receiver, token and amount that call data hold, in their order. Calls
 * inside calls are found too, because ABI encoding keeps their bytes together.
 */
export function permitNoncesIn(
  data: string,
  { token, amount, from, to }: Pick<TransferPermit, 'token' | 'amount' | 'from' | 'to'>,
): bigint[] {
  const pattern = new RegExp(
    `${addressWord(token)}${word(amount)}([0-9a-f]{64})[0-9a-f]{64}${addressWord(from)}${addressWord(to)}`,
    'g',
  );
  return [...data.matchAll(pattern)].map(([, nonce]) => BigInt(`0x${nonce}`));
}

/** Call data that asks Permit2 for the word of the owner's nonces in which this one is. */
export function nonceBitmapCallData(owner: string, nonce: bigint): Hex {
  return `0x${NONCE_BITMAP}${addressWord(owner)}${word(nonce >> 8n)}`;
}

/** Whether a nonce is used or given up in a word of the bitmap. */
export function isNonceIn(bitmap: string, nonce: bigint): boolean {
  return ((BigInt(bitmap) >> (nonce & 0xffn)) & 1n) === 1n;
}

/** Whether the data of an invalidation event name this nonce. */
export function isInvalidated(eventData: string, nonce: bigint): boolean {
  const wordPosition = BigInt(`0x${eventData.slice(2, 66)}`);
  return wordPosition === nonce >> 8n && isNonceIn(`0x${eventData.slice(66, 130)}`, nonce);
}

/** Call data that asks a token how much Permit2 may move. */
export function permit2AllowanceCallData(owner: string): Hex {
  return `0x${ALLOWANCE}${addressWord(owner)}${addressWord(PERMIT2_ADDRESS)}`;
}
