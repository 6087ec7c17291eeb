import { GatewayError } from '../lib/errors.ts';

/** Why a sign-in proof is refused; the names are on the wire of the Venice dialect. */
export const PROOF_REASONS = {
  PARSE_ERROR: 'The sign-in header is not base64 of a JSON object',
  INVALID_PAYLOAD: 'The sign-in proof lacks a field, or a field has the wrong type',
  INVALID_MESSAGE: 'The signed message is malformed',
  ADDRESS_MISMATCH: 'The address differs from the one in the signed message',
  INVALID_CHAIN_ID: 'The chain id has an unknown format',
  CHAIN_MISMATCH: 'The chain differs from the one in the signed message',
  UNSUPPORTED_CHAIN: 'Sign-in with wallets of this chain is not supported',
  MISSING_NONCE: 'The signed message needs a nonce of at least 8 letters and digits',
  NONCE_REUSED: 'The sign-in proof was used before; sign a new one for each request',
  DOMAIN_MISMATCH: 'The sign-in message was signed for another domain',
  TIMESTAMP_MISMATCH: 'The timestamp differs from Issued At in the signed message',
  EXPIRED: 'The sign-in proof has expired',
  FUTURE_TIMESTAMP: 'The sign-in proof was issued in the future; check the clock',
  NOT_BEFORE: 'The sign-in proof is not valid yet',
  INVALID_SIGNATURE: 'The signature does not belong to the address',
  INVALID_WALLET: 'The wallet address is invalid',
} as const;

export type ProofReason = keyof typeof PROOF_REASONS;

/** The refusal `proof_invalid` with its reason in `details.reason`. */
export function invalidProof(reason: ProofReason): GatewayError {
  return new GatewayError('proof_invalid', PROOF_REASONS[reason], { details: { reason } });
}
