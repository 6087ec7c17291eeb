import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { decodeBase58, encodeBase58 } from './svm-address.ts';

const signInPool = promisify(sign);

/** A key of our own on Solana. */
export interface SvmKey {
  /** Base58. */
  address: string;
  /** Ed25519 over the bytes; the same bytes give the same signature always. */
  sign(message: Uint8Array): Promise<Uint8Array>;
}

const SEED_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

/**
 * Reads a secret key: 64 bytes, seed and public key, in base58 as wallets export them or as the JSON array
 * that solana-keygen writes.
 * @returns undefined when it is neither, or its two halves do not belong together
 */
export function readSvmKey(text: string): SvmKey | undefined {
  const bytes = text.startsWith('[') ? readJsonBytes(text) : decodeBase58(text);
  if (bytes?.length !== 64) return undefined;
  const key = createPrivateKey({
    key: Buffer.concat([SEED_PREFIX, bytes.subarray(0, 32)]),
    format: 'der',
    type: 'pkcs8',
  });
  if (!Buffer.from(publicBytes(key)).equals(bytes.subarray(32))) return undefined;
  return {
    address: encodeBase58(bytes.subarray(32)),
    sign: async message => Uint8Array.from(await signInPool(null, message, key)),
  };
}

function publicBytes(key: KeyObject): Uint8Array {
  return createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);
}

function readJsonBytes(text: string): Uint8Array | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    const isBytes =
      Array.isArray(parsed) && parsed.every(byte => Number.isInteger(byte) && byte >= 0 && byte <= 255);
    return isBytes ? Uint8Array.from(parsed as number[]) : undefined;
  } catch {
    return undefined;
  }
}
