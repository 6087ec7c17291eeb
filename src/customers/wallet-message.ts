import { createHash } from 'node:crypto';
import { canonicalEvmAddress } from '../lib/evm-address.ts';
import { personalSignDigest, recoverAddress } from '../lib/secp256k1.ts';
import { invalidProof } from './proof-reasons.ts';
import { MAX_CLOCK_SKEW_MS, MAX_PROOF_AGE_MS, type ProofChecks, signInHost } from './wallet-proof.ts';

/** A wallet's signature (EIP-191) over a text of its own wording. */
export interface WalletMessage {
  address: string;
  message: string;
  /** 65 bytes as 0x hex. */
  signature: string;
}

/** A message whose every check passed except that it is fresh. */
export interface CheckedMessage {
  /** Canonical address of the signer. */
  wallet: string;
  /** The same for the same text, whatever its signature looks like; never the nonce of a sign-in proof. */
  nonce: string;
}

const WORDS = /[\s"'<>(),;]+/;
const ISO_TIME = /\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})/;

/**
 * Checks that a wallet speaks to us, about itself and now. The text is free, but our host must be a word of
 * its first line, where wallets show and sign-in standards put the addressee: a text that somebody signed
 * for another site must not be good here because it mentions us further down.
 * @throws GatewayError `proof_invalid` with `details.reason`
 */
export function checkWalletMessage(
  { address, message, signature }: WalletMessage,
  { domains, nowMs }: ProofChecks,
): CheckedMessage {
  const wallet = canonicalEvmAddress(address);
  if (wallet === undefined) throw invalidProof('INVALID_WALLET');
  const text = message.toLowerCase();
  const [firstLine = ''] = text.split(/\r?\n/, 1);
  const words = firstLine.split(WORDS).map(word => signInHost(word.replace(/[.:!?]+$/, '')));
  if (!words.some(word => domains.includes(word))) throw invalidProof('DOMAIN_MISMATCH');
  if (!new RegExp(`(?<![0-9a-z])${wallet}(?![0-9a-z])`).test(text)) throw invalidProof('ADDRESS_MISMATCH');
  requireRecent(message, nowMs);
  if (recoverAddress(personalSignDigest(message), signature) !== wallet) {
    throw invalidProof('INVALID_SIGNATURE');
  }
  // The colon keeps the two kinds apart: the nonces of sign-in proofs are letters and digits.
  return { wallet, nonce: `text:${createHash('sha256').update(message).digest('hex')}` };
}

/** The first time in the text is when it was issued. */
function requireRecent(message: string, nowMs: number): void {
  const issuedAtMs = Date.parse(ISO_TIME.exec(message)?.[0] ?? '');
  if (Number.isNaN(issuedAtMs)) throw invalidProof('INVALID_MESSAGE');
  if (nowMs - issuedAtMs > MAX_PROOF_AGE_MS) throw invalidProof('EXPIRED');
  if (issuedAtMs - nowMs > MAX_CLOCK_SKEW_MS) throw invalidProof('FUTURE_TIMESTAMP');
}
