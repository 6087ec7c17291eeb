import type { Queryable } from '../db/queryable.ts';
import { MAX_CLOCK_SKEW_MS, MAX_PROOF_AGE_MS } from './wallet-proof.ts';

/**
 * How long a used nonce is remembered by the clock that saw it: a proof can be first used up to the allowed skew
 * before its Issued At, and is good until the maximum age after it. So the memory ends at a time by which the proof is
 * too old, whoever's clock is asked: no process takes over the nonce of a proof that it would still accept.
 */
export const NONCE_MEMORY_MS = MAX_PROOF_AGE_MS + MAX_CLOCK_SKEW_MS;

/**
 * Deletion is for every process at once, also for one whose clock is behind and to which the proof seems young. So it
 * goes by the database's clock, and waits for processes that are behind it: twice what readiness tolerates.
 */
const DELETION_MARGIN_MS = 120_000;

export interface UsedProof {
  wallet: string;
  nonce: string;
  nowMs: number;
}

/** Uses one nonce up. @returns false when this wallet used it before. */
export async function consumeNonce(db: Queryable, proof: UsedProof): Promise<boolean> {
  const [isFresh = false] = await consumeNonces(db, [proof]);
  return isFresh;
}

/**
 * Uses nonces up, for every process at once: racing callers meet at the primary key and exactly one of them wins.
 * A row that has expired but is not deleted yet is taken over. Inserted in the order of the key, so that two
 * batches never wait for each other in a circle.
 * @returns for each proof, in order, false when its wallet used the nonce before, also earlier in the list
 */
export async function consumeNonces(db: Queryable, proofs: readonly UsedProof[]): Promise<boolean[]> {
  const result = await db.query<{ wallet: string; nonce: string }>({
    name: 'directory.consume_nonces',
    text: `INSERT INTO directory.proof_nonce AS used (wallet, nonce, expires_at)
           SELECT DISTINCT ON (wallet, nonce) wallet, nonce, expires_at
           FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS proof (wallet, nonce, expires_at)
           ORDER BY wallet, nonce
           ON CONFLICT ON CONSTRAINT proof_nonce_pkey DO UPDATE SET expires_at = excluded.expires_at
             WHERE used.expires_at < $4
           RETURNING wallet, nonce`,
    values: [
      proofs.map(({ wallet }) => wallet),
      proofs.map(({ nonce }) => nonce),
      proofs.map(({ nowMs }) => new Date(nowMs + NONCE_MEMORY_MS)),
      new Date(Math.min(...proofs.map(({ nowMs }) => nowMs))),
    ],
  });
  const fresh = new Set(result.rows.map(nameOf));
  // The first of equal proofs takes the name away from the others.
  return proofs.map(proof => fresh.delete(nameOf(proof)));
}

/** A nonce never contains a space. */
const nameOf = ({ wallet, nonce }: { wallet: string; nonce: string }): string => `${nonce} ${wallet}`;

/**
 * Deletes nonces that no process needs any more, the oldest first, at most `limit` of them. Several processes may do
 * so at once without waiting for each other.
 * @returns how many were deleted; fewer than `limit` means that none are left.
 */
export async function deleteExpiredNonces(db: Queryable, limit: number): Promise<number> {
  const result = await db.query({
    name: 'directory.delete_expired_nonces',
    text: `DELETE FROM directory.proof_nonce WHERE (wallet, nonce) IN (
             SELECT wallet, nonce FROM directory.proof_nonce WHERE expires_at < now() - $1 * interval '1 ms'
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
    values: [DELETION_MARGIN_MS, limit],
  });
  return result.rowCount ?? 0;
}
