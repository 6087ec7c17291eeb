import { type Address, getAddressDecoder } from '@solana/kit';
import {
  getMintDecoder,
  getTokenDecoder,
  type Mint,
  TOKEN_PROGRAM_ADDRESS,
  type Token,
} from '@solana-program/token';
import type { VmAccount } from './litesvm.ts';

export const TOKEN_2022_PROGRAM_ADDRESS = 'TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb' as Address;
export const TOKEN_PROGRAMS: readonly string[] = [TOKEN_PROGRAM_ADDRESS, TOKEN_2022_PROGRAM_ADDRESS];

const MINT_BYTES = 82;
const TOKEN_BYTES = 165;

/** Token-2022 pads every account with extensions to the length of a token account, then says what it is. */
const KIND_OFFSET = TOKEN_BYTES;
const KIND_MINT = 1;
const KIND_TOKEN = 2;

export type TokenState = { kind: 'mint'; mint: Mint } | { kind: 'account'; token: Token };

export function ownerOf(account: VmAccount): Address {
  return getAddressDecoder().decode(account.owner());
}

/** Reads what both token programs keep in common; extensions of Token-2022 are not looked at. */
export function readTokenState(account: VmAccount): TokenState | undefined {
  if (!TOKEN_PROGRAMS.includes(ownerOf(account))) return undefined;
  const data = account.data();
  if (data.length === MINT_BYTES || data[KIND_OFFSET] === KIND_MINT) {
    const mint = getMintDecoder().decode(data.subarray(0, MINT_BYTES));
    return mint.isInitialized ? { kind: 'mint', mint } : undefined;
  }
  if (data.length !== TOKEN_BYTES && data[KIND_OFFSET] !== KIND_TOKEN) return undefined;
  // The state's byte is 0 until the account is initialised.
  return data[108] === 0
    ? undefined
    : { kind: 'account', token: getTokenDecoder().decode(data.subarray(0, TOKEN_BYTES)) };
}

/** An amount in the shape that the protocol shows everywhere. */
export function uiTokenAmount(amount: bigint, decimals: number) {
  const digits = amount.toString().padStart(decimals + 1, '0');
  const whole = digits.slice(0, digits.length - decimals);
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, '');
  const uiAmountString = fraction === '' ? whole : `${whole}.${fraction}`;
  return { amount: amount.toString(), decimals, uiAmount: Number(uiAmountString), uiAmountString };
}
