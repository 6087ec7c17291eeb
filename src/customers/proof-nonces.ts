import type { Queryable } from '../db/queryable.ts';
import { MAX_CLOCK_SKEW_MS, MAX_PROOF_AGE_MS } from './wallet-proof.ts';

/**
 * How long a used nonce is remembered: a proof can be first used up to the allowed skew before its Issued
 * At, and is good until the maximum age after it.
 */
export const NONCE_MEMORY_MS = MAX_PROOF_AGE_MS + MAX_CLOCK_SKEW_MS;

/**
 * Uses a nonce up, for every process at once: racing callers meet at the primary key and exactly one of
 * them wins. A row that has expired but is not deleted yet is taken over.
 * @returns false when this wallet used the nonce before.
 */
export async function consumeNonce(
  db: Queryable,
  proof: { wallet: string; nonce: string; nowMs: number },
): Promise<boolean> {
  const result = await db.query({
    name: 'directory.consume_nonce',
    text: `INSERT INTO directory.proof_nonce AS used (wallet, nonce, expires_at) VALUES ($1, $2, $3)
           ON CONFLICT ON CONSTRAINT proof_nonce_pkey DO UPDATE SET expires_at = excluded.expires_at
             WHERE used.expires_at < $4`,
    values: [proof.wallet, proof.nonce, new Date(proof.nowMs + NONCE_MEMORY_MS), new Date(proof.nowMs)],
  });
  return result.rowCount === 1;
}

/**
 * Deletes nonces that have expired, the oldest first, at most `limit` of them. Several processes may do so
 * at once without waiting for each other.
 * @returns how many were deleted; fewer than `limit` means that none are left.
 */
export async function deleteExpiredNonces(db: Queryable, nowMs: number, limit: number): Promise<number> {
  const result = await db.query({
    name: 'directory.delete_expired_nonces',
    text: `DELETE FROM directory.proof_nonce WHERE (wallet, nonce) IN (
             SELECT wallet, nonce FROM directory.proof_nonce WHERE expires_at < $1
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
    values: [new Date(nowMs), limit],
  });
  return result.rowCount ?? 0;
}
