import { isAddress } from '@solana/kit';
import { canonicalEvmAddress } from '../lib/evm-address.ts';
import { invalidProof } from './proof-reasons.ts';
import { parseSiwxMessage, type SiwxMessage } from './siwx-message.ts';
import { decodeSiwxPayload, parseChainId, type SiwxPayload } from './siwx-payload.ts';
import type { WalletSignatures } from './wallet-signatures.ts';

/** A proof whose every check passed except that its nonce is fresh. */
export interface WalletProof {
  /** Canonical address of the signer. */
  wallet: string;
  /** CAIP-2. */
  chain: string;
  nonce: string;
  expiresAtMs: number;
  /** The sentence that the wallet showed its owner. */
  statement: string | undefined;
}

export interface ProofChecks {
  /** Hosts that a message may name, as {@link signInHost} writes them. */
  domains: readonly string[];
  nowMs: number;
  signatures: WalletSignatures;
}

/** A proof dies this long after Issued At, whatever expiration it names. */
export const MAX_PROOF_AGE_MS = 5 * 60_000;
/** How far a client's clock may run ahead. */
export const MAX_CLOCK_SKEW_MS = 30_000;

/**
 * Chains whose wallets may sign in, each with the canonical form of its addresses (undefined for what is none);
 * everything else is UNSUPPORTED_CHAIN.
 */
const CHAINS: Readonly<Record<string, (address: string) => string | undefined>> = {
  'eip155:8453': canonicalEvmAddress,
  'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp': address => (isAddress(address) ? address : undefined),
};

const NONCE = /^[0-9A-Za-z]{8,128}$/;

/**
 * Checks a Sign-In-With-X header value, cheapest checks first and the signature last.
 * @throws GatewayError `proof_invalid` with `details.reason`, or `unavailable` when only a node could tell
 */
export async function checkWalletProof(header: string, checks: ProofChecks): Promise<WalletProof> {
  const payload = decodeSiwxPayload(header);
  const message = parseSiwxMessage(payload.text);
  if (!message) throw invalidProof('INVALID_MESSAGE');

  requireSameAddress(payload, message);
  const chain = requireChain(payload, message);
  const { nonce, issuedAt } = requireLines(message);
  if (!checks.domains.includes(signInHost(message.domain))) throw invalidProof('DOMAIN_MISMATCH');
  const expiresAtMs = requireTimes(payload, message, issuedAt, checks.nowMs);

  const wallet = CHAINS[chain]?.(message.address);
  if (wallet === undefined) throw invalidProof('INVALID_WALLET');
  const { text, signature } = payload;
  if (!(await checks.signatures.verify({ chain, wallet, text, signature }))) {
    throw invalidProof('INVALID_SIGNATURE');
  }
  return { wallet, chain, nonce, expiresAtMs, statement: message.statement };
}

/**
 * The host of a domain as EIP-4361 writes it: scheme, port and path are cut off, letters are lower case.
 * Only http and https count as a scheme, so that nothing in front of `://` can dress up a foreign name.
 */
export function signInHost(domain: string): string {
  const name = domain.toLowerCase().replace(/^https?:\/\//, '');
  const [authority = ''] = name.split('/', 1);
  return authority.replace(/:\d{1,5}$/, '');
}

function requireSameAddress(payload: SiwxPayload, message: SiwxMessage): void {
  const same =
    message.account === 'Ethereum'
      ? payload.address.toLowerCase() === message.address.toLowerCase()
      : payload.address === message.address;
  if (!same) throw invalidProof('ADDRESS_MISMATCH');
}

/** @returns the CAIP-2 id of a supported chain that text and payload agree on. */
function requireChain(payload: SiwxPayload, message: SiwxMessage): string {
  const chain = chainOf(message);
  if (payload.account !== undefined && payload.account !== message.account) {
    throw invalidProof('CHAIN_MISMATCH');
  }
  if (payload.chainId !== undefined && parseChainId(payload.chainId) !== chain) {
    throw invalidProof('CHAIN_MISMATCH');
  }
  if (!Object.hasOwn(CHAINS, chain)) throw invalidProof('UNSUPPORTED_CHAIN');
  return chain;
}

function chainOf({ account, chainId = '' }: SiwxMessage): string {
  // A text without the line means Ethereum's own chain.
  if (account === 'Ethereum') return `eip155:${chainId || '1'}`;
  return chainId.startsWith('solana:') ? chainId : `solana:${chainId}`;
}

function requireLines(message: SiwxMessage): { nonce: string; issuedAt: string } {
  const { uri, version, nonce, issuedAt } = message;
  if (uri === undefined || version !== '1' || nonce === undefined || issuedAt === undefined) {
    throw invalidProof('INVALID_MESSAGE');
  }
  if (!NONCE.test(nonce)) throw invalidProof('MISSING_NONCE');
  return { nonce, issuedAt };
}

/** @returns when the proof stops being valid, in Unix milliseconds. */
function requireTimes(payload: SiwxPayload, message: SiwxMessage, issuedAt: string, nowMs: number): number {
  const issuedAtMs = timeOf(issuedAt);
  const expirationMs = message.expirationTime === undefined ? Infinity : timeOf(message.expirationTime);
  const notBeforeMs = message.notBefore === undefined ? -Infinity : timeOf(message.notBefore);

  const { timestampMs = issuedAtMs } = payload;
  if (Math.abs(timestampMs - issuedAtMs) > MAX_CLOCK_SKEW_MS) throw invalidProof('TIMESTAMP_MISMATCH');
  if (nowMs - issuedAtMs > MAX_PROOF_AGE_MS) throw invalidProof('EXPIRED');
  if (issuedAtMs - nowMs > MAX_CLOCK_SKEW_MS) throw invalidProof('FUTURE_TIMESTAMP');
  if (nowMs >= expirationMs) throw invalidProof('EXPIRED');
  if (nowMs < notBeforeMs) throw invalidProof('NOT_BEFORE');
  return Math.min(issuedAtMs + MAX_PROOF_AGE_MS, expirationMs);
}

const ISO_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/;

/** Only times that name their zone: Date would read anything else in the server's own. */
function timeOf(text: string): number {
  const timeMs = ISO_TIME.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(timeMs)) throw invalidProof('INVALID_MESSAGE');
  return timeMs;
}
