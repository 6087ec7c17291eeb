import type { KeyDialect } from '../customers/api-key-format.ts';
import { createApiKey } from '../customers/api-keys.ts';
import { resolveWallet } from '../customers/customers.ts';
import { consumeNonce } from '../customers/proof-nonces.ts';
import { invalidProof } from '../customers/proof-reasons.ts';
import { checkWalletMessage, type WalletMessage } from '../customers/wallet-message.ts';
import { signInHost } from '../customers/wallet-proof.ts';
import type { WalletSignatures } from '../customers/wallet-signatures.ts';
import { orUnavailable } from '../db/pg-errors.ts';
import type { Queryable } from '../db/queryable.ts';
import type { Clock } from '../lib/clock.ts';
import type { Environment } from '../ports/environment.ts';

export interface WalletRegistration {
  dialect: KeyDialect;
  environment: Environment;
  /** CAIP-2 id of the chain on which the address names its customer. */
  network: string;
  proof: WalletMessage;
}

export interface WalletKeys {
  /**
   * Makes a key for the customer of a wallet that proves itself by a signed text. Each text is good once;
   * keys made before stay good.
   * @throws GatewayError `proof_invalid` with `details.reason`, or `unavailable`
   */
  register(registration: WalletRegistration): Promise<{ apiKey: string; wallet: string }>;
}

export interface WalletKeysOptions {
  db: Queryable;
  clock: Clock;
  signatures: WalletSignatures;
  /** Domains that a text may be addressed to. A foreign one makes texts replayable between the two. */
  domains: readonly string[];
}

export function createWalletKeys({ db, clock, signatures, domains }: WalletKeysOptions): WalletKeys {
  const hosts = domains.map(signInHost);

  async function issue(
    { dialect, environment, network }: WalletRegistration,
    { wallet, nonce, nowMs }: { wallet: string; nonce: string; nowMs: number },
  ): Promise<string> {
    if (!(await consumeNonce(db, { wallet, nonce, nowMs }))) throw invalidProof('NONCE_REUSED');
    const { customerId } = await resolveWallet(db, { environment, network, address: wallet });
    const { apiKey } = await createApiKey(db, { dialect, environment, customerId });
    return apiKey;
  }

  return {
    async register(registration) {
      const nowMs = clock.nowMs();
      const checks = { chain: registration.network, domains: hosts, nowMs, signatures };
      const { wallet, nonce } = await checkWalletMessage(registration.proof, checks);
      const apiKey = await orUnavailable(issue(registration, { wallet, nonce, nowMs }));
      return { apiKey, wallet };
    },
  };
}
