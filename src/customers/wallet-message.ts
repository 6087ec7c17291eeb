import { createHash } from 'node:crypto';
import { canonicalEvmAddress } from '../lib/evm-address.ts';
import { invalidProof } from './proof-reasons.ts';
import { opensLikeSignIn } from './siwx-message.ts';
import { MAX_CLOCK_SKEW_MS, MAX_PROOF_AGE_MS, type ProofChecks, signInHost } from './wallet-proof.ts';

/** An EVM wallet's signature (EIP-191) over a text of its own wording. */
export interface WalletMessage {
  address: string;
  message: string;
  /** 0x hex; 65 bytes for a key, anything for a contract wallet (ERC-1271). */
  signature: string;
}

/** A message whose every check passed except that it is fresh. */
export interface CheckedMessage {
  /** Canonical address of the signer. */
  wallet: string;
  /** The same for the same text, whatever its signature looks like; never the nonce of a sign-in proof. */
  nonce: string;
}

const ISO_TIME = /\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})/;

/**
 * Checks that a wallet speaks to us, about itself and now. The text begins with our host, as the one that Dria's
 * clients sign and as every sign-in standard has it (`dria.example wants wallet 0x… to obtain an API key`): a text that
 * somebody signed for another site must not be good here because it mentions us. What follows is free.
 * @param chain CAIP-2 id of the chain on which the address is an account
 * @throws GatewayError `proof_invalid` with `details.reason`, or `unavailable` when only a node could tell
 */
export async function checkWalletMessage(
  { address, message, signature }: WalletMessage,
  { chain, domains, nowMs, signatures }: ProofChecks & { chain: string },
): Promise<CheckedMessage> {
  const wallet = canonicalEvmAddress(address);
  if (wallet === undefined) throw invalidProof('INVALID_WALLET');
  // Whoever sees a sign-in, which is good for one request, would else have a key that is good for ever.
  if (opensLikeSignIn(message)) throw invalidProof('INVALID_MESSAGE');
  const text = message.toLowerCase();
  const [addressee = ''] = text.split(/\s/, 1);
  if (!domains.includes(signInHost(addressee.replace(/[:,]$/, '')))) throw invalidProof('DOMAIN_MISMATCH');
  if (!new RegExp(`(?<![0-9a-z])${wallet}(?![0-9a-z])`).test(text)) throw invalidProof('ADDRESS_MISMATCH');
  requireRecent(message, nowMs);
  if (!(await signatures.verify({ chain, wallet, text: message, signature }))) {
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
