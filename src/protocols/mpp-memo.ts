import { keccak256, stringToHex } from 'viem';

/** Tag of MPP and version 1. */
const PREFIX = '0xef1ed71201';
const REALM_DIGITS = 20;
const CLIENT_DIGITS = 20;
const CHALLENGE_DIGITS = 14;

/**
 * Whether the 32 bytes that go with a transfer name this server and this challenge: five bytes of tag and version, ten of
 * the realm's hash, ten that the client chooses, seven of the hash of the challenge's id (draft-tempo-charge-00).
 */
export function isBoundMemo(
  memo: string,
  { realm, challengeId }: { realm: string; challengeId: string },
): boolean {
  const server = hashDigits(realm, REALM_DIGITS);
  const challenge = hashDigits(challengeId, CHALLENGE_DIGITS);
  const start = `${PREFIX}${server}`;
  return memo.startsWith(start) && memo.slice(start.length + CLIENT_DIGITS) === challenge;
}

function hashDigits(text: string, digits: number): string {
  return keccak256(stringToHex(text)).slice(2, 2 + digits);
}
