import type { Address } from '@solana/kit';
import {
  getMintDecoder,
  getTokenDecoder,
  type Mint,
  TOKEN_PROGRAM_ADDRESS,
  type Token,
} from '@solana-program/token';
import { addressOf } from '../../lib/svm-address.ts';
import type { VmAccount } from './litesvm.ts';

export const TOKEN_2022_PROGRAM_ADDRESS = 'TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb' as Address;
export const TOKEN_PROGRAMS: readonly string[] = [TOKEN_PROGRAM_ADDRESS, TOKEN_2022_PROGRAM_ADDRESS];

const MINT_BYTES = 82;
/** Of a mint. */
const DECIMALS_OFFSET = 44;
const INITIALIZED_OFFSET = 45;
const TOKEN_BYTES = 165;
/** Of a token account, which begins with its mint. */
const OWNER_OFFSET = 32;
const AMOUNT_OFFSET = 64;
const STATE_OFFSET = 108;

/** Token-2022 pads every account with extensions to the length of a token account, then says what it is. */
const KIND_OFFSET = TOKEN_BYTES;
const KIND_MINT = 1;
const KIND_TOKEN = 2;

export type TokenState = { kind: 'mint'; mint: Mint } | { kind: 'account'; token: Token };

export function ownerOf(account: VmAccount): Address {
  return addressOf(account.owner());
}

/** Reads what both token programs keep in common; extensions of Token-2022 are not looked at. */
export function readTokenState(account: VmAccount): TokenState | undefined {
  if (!TOKEN_PROGRAMS.includes(ownerOf(account))) return undefined;
  const data = account.data();
  if (isMint(data)) {
    const mint = getMintDecoder().decode(data.subarray(0, MINT_BYTES));
    return mint.isInitialized ? { kind: 'mint', mint } : undefined;
  }
  return isTokenAccount(data)
    ? { kind: 'account', token: getTokenDecoder().decode(data.subarray(0, TOKEN_BYTES)) }
    : undefined;
}

/** What a token account holds, and nothing else of it; undefined for any other account. */
export function readTokenBalance(
  account: VmAccount,
): { mint: Address; owner: Address; programId: Address; amount: bigint } | undefined {
  const programId = ownerOf(account);
  if (!TOKEN_PROGRAMS.includes(programId)) return undefined;
  const data = account.data();
  if (!isTokenAccount(data)) return undefined;
  const amount = Buffer.from(data.buffer, data.byteOffset, data.length).readBigUInt64LE(AMOUNT_OFFSET);
  return {
    mint: addressOf(data.subarray(0, OWNER_OFFSET)),
    owner: addressOf(data.subarray(OWNER_OFFSET, AMOUNT_OFFSET)),
    programId,
    amount,
  };
}

/** The decimals of a mint, and nothing else of it; undefined for any other account. */
export function readMintDecimals(account: VmAccount): number | undefined {
  if (!TOKEN_PROGRAMS.includes(ownerOf(account))) return undefined;
  const data = account.data();
  return isMint(data) && data[INITIALIZED_OFFSET] === 1 ? data[DECIMALS_OFFSET] : undefined;
}

function isMint(data: Uint8Array): boolean {
  return data.length === MINT_BYTES || data[KIND_OFFSET] === KIND_MINT;
}

function isTokenAccount(data: Uint8Array): boolean {
  if (data.length !== TOKEN_BYTES && data[KIND_OFFSET] !== KIND_TOKEN) return false;
  // The state is 0 until the account is initialised.
  return data[STATE_OFFSET] !== 0;
}

/** An amount in the shape that the protocol shows everywhere. */
export function uiTokenAmount(amount: bigint, decimals: number) {
  const digits = amount.toString().padStart(decimals + 1, '0');
  const whole = digits.slice(0, digits.length - decimals);
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, '');
  const uiAmountString = fraction === '' ? whole : `${whole}.${fraction}`;
  return { amount: amount.toString(), decimals, uiAmount: Number(uiAmountString), uiAmountString };
}
