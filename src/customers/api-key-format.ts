import { createHash, createHmac, randomInt } from 'node:crypto';
import type { Environment } from '../ports/environment.ts';

/** How the keys of each dialect begin: a key tells its dialect and its environment by itself. */
export const API_KEY_PREFIXES = {
  dria: { live: 'dkn_live_', test: 'dkn_test_' },
  mobula: { live: 'mbl_', test: 'mbl_test_' },
  aitopup: { live: 'ak_live_', test: 'ak_staging_' },
} as const satisfies Record<string, Record<Environment, string>>;

/** A dialect whose callers present keys. */
export type KeyDialect = keyof typeof API_KEY_PREFIXES;

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const SUFFIX_LENGTH = 40;
const SUFFIX = /^[A-Za-z0-9]{40}$/;

/** A fresh key: the prefix and 40 letters and digits, about 238 bits that nobody can guess. */
export function mintApiKey(dialect: KeyDialect, environment: Environment): string {
  // randomInt draws again instead of taking a remainder, so every letter is equally likely.
  const suffix = Array.from({ length: SUFFIX_LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)]);
  return `${API_KEY_PREFIXES[dialect][environment]}${suffix.join('')}`;
}

/**
 * The key of an id, for dialects that show a key more than once: it is made anew from a secret that is in no
 * database, and only its hash is stored, as for every key.
 * @param secret 32 bytes
 */
export function deriveApiKey(
  secret: Buffer,
  { dialect, environment, keyId }: { dialect: KeyDialect; environment: Environment; keyId: string },
): string {
  const letters: string[] = [];
  // Bytes above the largest multiple of the alphabet are dropped, so every letter is equally likely.
  const limit = 256 - (256 % ALPHABET.length);
  for (let block = 0; letters.length < SUFFIX_LENGTH; block += 1) {
    const bytes = createHmac('sha256', secret).update(`${dialect}:${environment}:${keyId}:${block}`).digest();
    letters.push(
      ...[...bytes].filter(byte => byte < limit).map(byte => ALPHABET[byte % ALPHABET.length] ?? ''),
    );
  }
  return `${API_KEY_PREFIXES[dialect][environment]}${letters.slice(0, SUFFIX_LENGTH).join('')}`;
}

/**
 * The name under which a key is stored. A plain hash is enough because a key is random throughout: there is
 * no dictionary to try. Finding a row by it compares hashes and never keys, so the time of a look-up tells
 * nothing about any stored key.
 * @returns 32 bytes, or undefined for what cannot be a key of this dialect.
 */
export function hashApiKey(dialect: KeyDialect, apiKey: string): Buffer | undefined {
  const prefixes = Object.values(API_KEY_PREFIXES[dialect]);
  const isKey = prefixes.some(each => apiKey.startsWith(each) && SUFFIX.test(apiKey.slice(each.length)));
  if (!isKey) return undefined;
  return createHash('sha256').update(apiKey).digest();
}
