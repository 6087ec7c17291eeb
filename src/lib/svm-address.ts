import { createHash } from 'node:crypto';
import {
  type Address,
  getAddressDecoder,
  getAddressEncoder,
  isAddress,
  isOffCurveAddress,
} from '@solana/kit';
import bs58 from 'bs58';
import { assert } from './assert.ts';

const addressDecoder = getAddressDecoder();
const addressEncoder = getAddressEncoder();

const ASSOCIATED_TOKEN_PROGRAM = 'ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL';

/** True for the base58 text of 32 bytes. Base58 distinguishes cases, so an address has one spelling. */
export function isSvmAddress(text: string): boolean {
  return isAddress(text);
}

const SIGNATURE_BYTES = 64;
const SIGNATURE_TEXT = /^[1-9A-HJ-NP-Za-km-z]{64,88}$/;

/** True for the base58 text of 64 bytes, which names a transaction. */
export function isSvmSignature(text: string): boolean {
  return SIGNATURE_TEXT.test(text) && decodeBase58(text)?.length === SIGNATURE_BYTES;
}

/** Texts and bytes of addresses that were met. */
const knownTexts = new Map<string, Address>();
const knownBytes = new Map<string, Uint8Array>();
const MAX_KNOWN = 20_000;

/**
 * The base58 text of an address. It is kept, because the same few accounts come with every transaction, and writing them
 * anew took longer than running it.
 */
export function addressOf(address: Uint8Array): Address {
  return recall(knownTexts, Buffer.from(address).toString('latin1'), () => addressDecoder.decode(address));
}

/** The 32 bytes of an address. */
export function addressBytes(address: string): Uint8Array {
  return recall(knownBytes, address, () => Uint8Array.from(addressEncoder.encode(address as Address)));
}

function recall<T>(known: Map<string, T>, key: string, make: () => T): T {
  const found = known.get(key);
  if (found !== undefined) return found;
  const made = make();
  if (known.size >= MAX_KNOWN) known.clear();
  known.set(key, made);
  return made;
}

export function encodeBase58(bytes: Uint8Array): string {
  return bs58.encode(bytes);
}

/** @returns undefined for what is not base58. */
export function decodeBase58(text: string): Uint8Array | undefined {
  return bs58.decodeUnsafe(text);
}

/**
 * The one token account in which a wallet receives a token: the address derived from wallet, token program
 * and mint with the first bump, counted down from 255, that is not a key of the curve.
 */
export function associatedTokenAccount(owner: string, mint: string, tokenProgram: string): string {
  const seeds = [owner, tokenProgram, mint].map(addressBytes);
  const program = addressBytes(ASSOCIATED_TOKEN_PROGRAM);
  for (let bump = 255; bump >= 0; bump -= 1) {
    const hash = createHash('sha256');
    for (const part of [...seeds, Uint8Array.of(bump), program]) hash.update(part);
    const candidate = encodeBase58(hash.update('ProgramDerivedAddress').digest());
    if (isOffCurveAddress(candidate as Address)) return candidate;
  }
  return assert(false, 'every owner has an associated token account') as never;
}
