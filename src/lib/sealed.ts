import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/**
 * Keeps small secrets that must be read again: what signs a webhook, what a voucher is redeemed by. Sealed
 * text is safe in the database and its backups as long as the key is elsewhere.
 */
export interface Sealer {
  /** @param context what the text belongs to; it must be the same when it is opened */
  seal(plain: string, context: string): string;
  /** @throws when the text was changed, belongs to another context, or no key of ours sealed it */
  open(sealed: string, context: string): string;
}

const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SEALED = 'aes256gcm.';
const PLAIN = 'plain.';

/**
 * Seals with AES-256-GCM under the first key and opens with every key, so that keys can be changed one after
 * the other. Without a key the text is stored as it is; what was stored so stays readable later.
 * @param keys 32 bytes each
 */
export function createSealer(keys: readonly Buffer[]): Sealer {
  const [first] = keys;

  function openWith(key: Buffer, bytes: Buffer, context: string): string | undefined {
    const decipher = createDecipheriv(ALGORITHM, key, bytes.subarray(0, NONCE_BYTES));
    decipher.setAAD(Buffer.from(context));
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    try {
      const body = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
      return Buffer.concat([body, decipher.final()]).toString('utf8');
    } catch {
      return undefined;
    }
  }

  return {
    seal(plain, context) {
      if (!first) return PLAIN + plain;
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv(ALGORITHM, first, nonce);
      cipher.setAAD(Buffer.from(context));
      const body = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
      return SEALED + Buffer.concat([nonce, body, cipher.getAuthTag()]).toString('base64url');
    },
    open(sealed, context) {
      if (sealed.startsWith(PLAIN)) return sealed.slice(PLAIN.length);
      const bytes = Buffer.from(sealed.slice(SEALED.length), 'base64url');
      if (sealed.startsWith(SEALED) && bytes.length >= NONCE_BYTES + TAG_BYTES) {
        for (const key of keys) {
          const plain = openWith(key, bytes, context);
          if (plain !== undefined) return plain;
        }
      }
      throw new Error('a sealed text cannot be opened: is its key missing from DATA_ENCRYPTION_KEY?');
    },
  };
}
