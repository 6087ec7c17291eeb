import { hkdfSync } from 'node:crypto';
import { deriveApiKey, hashApiKey } from '../customers/api-key-format.ts';
import { createApiKey, listActiveApiKeys } from '../customers/api-keys.ts';
import type { Queryable } from '../db/queryable.ts';
import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Environment } from '../ports/environment.ts';

const DIALECT = 'mobula';

/** A key without anything that could be used. */
export interface NamedKey {
  keyId: string;
  /** SHA-256 of the key as hex; nothing is compared when absent. */
  keyHash?: string | undefined;
}

/** Who keys are for. */
export interface KeyOwner {
  customerId: string;
  environment: Environment;
}

/**
 * Keys of agents. The status of a plan lists them and a repeated payment answers the same one again, so each is
 * derived from its id and the gateway's secret; the database holds nothing that could be used.
 */
export interface AgentKeys {
  /**
   * The key of an id that this agent has or had.
   * @throws GatewayError `conflict` when it was made with a secret that was replaced: another key would be shown
   */
  reveal(environment: Environment, key: NamedKey): string;
  /** Stores the key of a chosen id; again is no change. */
  store(db: Queryable, owner: KeyOwner, keyId: string): Promise<Required<NamedKey>>;
  /** The keys that are good now, newest first; at most 100. */
  listActive(db: Queryable, owner: KeyOwner): Promise<Required<NamedKey>[]>;
}

export interface AgentKeysOptions {
  /** The keys' own secret is derived from it. */
  secret: string;
  clock: Clock;
}

export function createAgentKeys({ secret, clock }: AgentKeysOptions): AgentKeys {
  const keySecret = Buffer.from(hkdfSync('sha256', secret, '', 'api keys of agents', 32));
  const derive = (environment: Environment, keyId: string) =>
    deriveApiKey(keySecret, { dialect: DIALECT, environment, keyId });

  return {
    reveal(environment, { keyId, keyHash }) {
      const apiKey = derive(environment, keyId);
      if (keyHash === undefined || keyHash === hashOf(apiKey)) return apiKey;
      throw new GatewayError(
        'conflict',
        'the key of this payment was made with a secret that was replaced since, and can not be shown again',
      );
    },
    async store(db, { customerId, environment }, keyId) {
      const apiKey = derive(environment, keyId);
      await createApiKey(db, { dialect: DIALECT, environment, customerId, known: { keyId, apiKey } });
      return { keyId, keyHash: hashOf(apiKey) };
    },
    async listActive(db, { customerId, environment }) {
      const now = new Date(clock.nowMs());
      const keys = await listActiveApiKeys(db, { customerId, dialect: DIALECT, now });
      // Keys of a secret that was replaced still work, but only their owner knows them.
      return keys
        .map(({ keyId, keyHash }) => ({ keyId, keyHash: keyHash.toString('hex') }))
        .filter(({ keyId, keyHash }) => hashOf(derive(environment, keyId)) === keyHash);
    },
  };
}

function hashOf(apiKey: string): string {
  return hashApiKey(DIALECT, apiKey)?.toString('hex') ?? '';
}
