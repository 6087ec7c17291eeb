import type { Pool } from 'pg';
import { type HasAccount, type LinkOutcome, linkWallets } from '../customers/customer-links.ts';
import { consumeNonce } from '../customers/proof-nonces.ts';
import { invalidProof } from '../customers/proof-reasons.ts';
import { checkWalletProof, signInHost } from '../customers/wallet-proof.ts';
import type { WalletSignatures } from '../customers/wallet-signatures.ts';
import { orUnavailable } from '../db/pg-errors.ts';
import { readBalance } from '../ledger/balances.ts';
import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import { parseWalletId, type WalletId } from './wallet-ids.ts';

export interface LinkedWallets {
  /** All wallets of the customer as CAIP-10 account ids. */
  wallets: string[];
}

export interface WalletLinks {
  /**
   * Links two wallets that both say so, each by a sign-in proof whose statement is {@link linkStatement} of the
   * other. A proof that was meant for signing in links nothing.
   * @throws GatewayError `proof_invalid` with `details.reason`, `malformed_request` when a statement is another,
   * `conflict` when both wallets have an account of their own, or `unavailable`
   */
  linkByProofs(proofs: readonly [string, string]): Promise<LinkedWallets>;
}

export interface WalletLinksOptions {
  pool: Pool;
  clock: Clock;
  signatures: WalletSignatures;
  domains: readonly string[];
}

const STATEMENT = 'Link with ';

/** What a wallet's owner reads and signs before it is linked with another. */
export function linkStatement(other: string): string {
  return `${STATEMENT}${other}`;
}

export function createWalletLinks({ pool, clock, signatures, domains }: WalletLinksOptions): WalletLinks {
  const hosts = domains.map(signInHost);

  async function prove(header: string): Promise<{ wallet: WalletId; other: string | undefined }> {
    const nowMs = clock.nowMs();
    const proof = await checkWalletProof(header, { domains: hosts, nowMs, signatures });
    const { wallet: address, chain, nonce, statement = '' } = proof;
    const wallet = parseWalletId(`${chain}:${address}`);
    if (!wallet) throw invalidProof('UNSUPPORTED_CHAIN');
    if (!(await orUnavailable(consumeNonce(pool, { wallet: address, nonce, nowMs })))) {
      throw invalidProof('NONCE_REUSED');
    }
    const named = statement.startsWith(STATEMENT) ? statement.slice(STATEMENT.length) : '';
    return { wallet, other: parseWalletId(named)?.identity };
  }

  return {
    async linkByProofs([firstHeader, secondHeader]) {
      const first = await prove(firstHeader);
      const second = await prove(secondHeader);
      for (const [proof, other] of [
        [first, second],
        [second, first],
      ] as const) {
        if (proof.other !== other.wallet.identity) {
          throw new GatewayError(
            'malformed_request',
            `the statement that ${proof.wallet.identity} signs must be: ${linkStatement(other.wallet.identity)}`,
          );
        }
      }
      const order = { actor: 'customer', reason: 'both wallets signed for it' };
      const outcome = await orUnavailable(link(pool, first.wallet, second.wallet, order));
      if (outcome.kind === 'linked' || outcome.kind === 'already_linked') {
        return { wallets: outcome.identities };
      }
      throw new GatewayError('conflict', REFUSALS[outcome.kind]);
    },
  };
}

/** Why wallets are not linked, in words for whoever asked. */
export const REFUSALS = {
  both_in_use: 'both wallets have an account of their own, and accounts are not merged',
  too_many: 'the customer would have too many wallets',
} as const satisfies Partial<Record<LinkOutcome['kind'], string>>;

/**
 * Links two wallets because somebody who may do so says so.
 * @throws GatewayError `malformed_request` when they are one wallet, or of different environments
 */
export async function link(
  pool: Pool,
  first: WalletId,
  second: WalletId,
  order: { actor: string; reason: string },
): Promise<LinkOutcome> {
  if (first.environment !== second.environment) {
    throw new GatewayError('malformed_request', 'live and test wallets are never linked');
  }
  if (first.identity === second.identity) {
    throw new GatewayError('malformed_request', 'these are the same wallet');
  }
  const { environment } = first;
  return linkWallets(
    pool,
    { environment, first: first.identity, second: second.identity, ...order },
    hasAccount,
  );
}

const hasAccount: HasAccount = async (db, { cell, accountId }) =>
  (await readBalance(db, cell, accountId)) !== undefined;
