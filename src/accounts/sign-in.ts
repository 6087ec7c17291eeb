import { consumeNonces, deleteExpiredNonces, type UsedProof } from '../customers/proof-nonces.ts';
import { invalidProof } from '../customers/proof-reasons.ts';
import { checkWalletProof, signInHost } from '../customers/wallet-proof.ts';
import type { WalletSignatures } from '../customers/wallet-signatures.ts';
import { asGatewayError } from '../db/pg-errors.ts';
import type { Queryable } from '../db/queryable.ts';
import { shareStatements } from '../db/shared-statements.ts';
import type { Clock } from '../lib/clock.ts';
import type { SignIn } from './types.ts';

export interface SignInOptions {
  db: Queryable;
  clock: Clock;
  signatures: WalletSignatures;
  /** Domains that a proof may be signed for. A foreign one makes proofs replayable between the two. */
  domains: readonly string[];
}

/** One statement deletes this many, so that it is short; a round goes on until nothing is left. */
const FORGET_BATCH = 1_000;
const MAX_FORGET_BATCHES = 1_000;

export interface SignInService extends SignIn {
  /**
   * Deletes used nonces that can no longer matter. For a worker to call every minute or so, never a
   * request.
   * @returns how many were deleted.
   */
  forgetExpiredNonces(): Promise<number>;
}

/**
 * Signs wallets in by Sign-In-With-X. The nonce is used up as soon as the signature holds, whatever the
 * request comes to afterwards: a proof that was seen once proves nothing a second time.
 */
export function createSignIn({ db, clock, signatures, domains }: SignInOptions): SignInService {
  const hosts = domains.map(signInHost);
  // Under load a statement and its commit are most of what a sign-in costs.
  const consumeNonce = shareStatements((proofs: readonly UsedProof[]) => consumeNonces(db, proofs));
  return {
    async requireWallet(header) {
      const nowMs = clock.nowMs();
      const checks = { domains: hosts, nowMs, signatures };
      const { wallet, chain, nonce } = await checkWalletProof(header, checks);
      const fresh = await consumeNonce({ wallet, nonce, nowMs }).catch((error: unknown) => {
        throw asGatewayError(error);
      });
      if (!fresh) throw invalidProof('NONCE_REUSED');
      return { network: chain, wallet };
    },

    async forgetExpiredNonces() {
      let total = 0;
      for (let batch = 0; batch < MAX_FORGET_BATCHES; batch += 1) {
        const deleted = await deleteExpiredNonces(db, FORGET_BATCH);
        total += deleted;
        if (deleted < FORGET_BATCH) break;
      }
      return total;
    },
  };
}
