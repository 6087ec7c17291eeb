import { createPublicKey, verify } from 'node:crypto';
import { promisify } from 'node:util';

const verifyInPool = promisify(verify);

const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;

/**
 * The points whose order divides eight, by their y coordinate (little-endian, sign bit cleared), in every spelling
 * that decoders take. For a "key" among them a signature of every text can be written down without any secret, and
 * OpenSSL, which follows RFC 8032, accepts it.
 */
const SMALL_ORDER_KEYS: ReadonlySet<string> = new Set([
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
]);

/** Whether nobody can hold the secret of this key although signatures under it verify. */
export function isSmallOrderKey(publicKey: Uint8Array): boolean {
  const bytes = Buffer.from(publicKey);
  bytes[KEY_BYTES - 1] = (bytes[KEY_BYTES - 1] ?? 0) & 0x7f;
  return SMALL_ORDER_KEYS.has(bytes.toString('hex'));
}

/**
 * Checks a signature (RFC 8032) with OpenSSL: about 0.1 ms, which a thread of the pool spends while this one goes on.
 * @param publicKey 32 bytes; anything else is nobody's key
 * @param signature 64 bytes
 */
export async function verifyEd25519(
  text: Uint8Array,
  signature: Uint8Array,
  publicKey: Uint8Array,
): Promise<boolean> {
  if (publicKey.length !== KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  if (isSmallOrderKey(publicKey)) return false;
  // As a JWK (RFC 8037), because OpenSSL takes nearly as long to find its way through DER as to check the signature.
  const x = Buffer.from(publicKey).toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  return verifyInPool(null, text, key, signature);
}
