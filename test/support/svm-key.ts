import { generateKeyPairSync } from 'node:crypto';
import { getBase58Decoder } from '@solana/kit';

export interface SvmTestKey {
  address: string;
  /** Seed and public key in base58. */
  secret: string;
}

export function newSvmKey(): SvmTestKey {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32);
  const bytes = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  const base58 = getBase58Decoder();
  return { address: base58.decode(bytes), secret: base58.decode(Buffer.concat([seed, bytes])) };
}
