import { randomBytes } from 'node:crypto';

/** How long a challenge invites to be signed; the proof itself lives as long. */
const CHALLENGE_MS = 5 * 60_000;

/** The chains whose wallets can sign in, by signature type. Generic clients take the first that fits their key. */
const SUPPORTED_CHAINS = [
  { chainId: 'eip155:8453', type: 'eip191' },
  { chainId: 'eip155:8453', type: 'eip1271' },
  { chainId: 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp', type: 'ed25519' },
];

/**
 * The sign-in challenge. Generic clients sign it only when its domain (with port) and origin are those of
 * the answering server, so both come from the public origin. The nonce is a suggestion: clients may invent
 * their own, hence it is not stored.
 */
export function signInChallenge(publicOrigin: string, url: string, nowMs: number) {
  return {
    info: {
      domain: new URL(publicOrigin).host,
      uri: url,
      version: '1',
      nonce: randomBytes(8).toString('hex'),
      issuedAt: new Date(nowMs).toISOString(),
      expirationTime: new Date(nowMs + CHALLENGE_MS).toISOString(),
      statement: 'Sign in to Venice AI',
    },
    supportedChains: SUPPORTED_CHAINS,
  };
}
