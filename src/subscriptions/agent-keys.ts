import { hkdfSync } from 'node:crypto';
import { deriveApiKey, hashApiKey } from '../customers/api-key-format.ts';
import { createApiKey, listActiveApiKeys } from '../customers/api-keys.ts';
import type { Queryable } from '../db/queryable.ts';
import type { Clock } from '../lib/clock.ts';
import type { Environment } from '../ports/environment.ts';

const DIALECT = 'mobula';

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
  /** The key of an id that this agent has or had. */
  reveal(environment: Environment, keyId: string): string;
  /** Stores the key of a chosen id; again is no change. */
  store(db: Queryable, owner: KeyOwner, keyId: string): Promise<void>;
  /** Ids of the keys that are good now, newest first; at most 100. */
  listActive(db: Queryable, owner: KeyOwner): Promise<string[]>;
}

export interface AgentKeysOptions {
  /** The gateway's secret; the keys' own is derived from it. */
  secret: string;
  clock: Clock;
}

export function createAgentKeys({ secret, clock }: AgentKeysOptions): AgentKeys {
  const keySecret = Buffer.from(hkdfSync('sha256', secret, '', 'api keys of agents', 32));
  const reveal = (environment: Environment, keyId: string) =>
    deriveApiKey(keySecret, { dialect: DIALECT, environment, keyId });

  return {
    reveal,
    async store(db, { customerId, environment }, keyId) {
      const known = { keyId, apiKey: reveal(environment, keyId) };
      await createApiKey(db, { dialect: DIALECT, environment, customerId, known });
    },
    async listActive(db, { customerId, environment }) {
      const now = new Date(clock.nowMs());
      const keys = await listActiveApiKeys(db, { customerId, dialect: DIALECT, now });
      // Keys of a secret that was replaced still work, but only their owner knows them.
      return keys
        .filter(({ keyId, keyHash }) => hashApiKey(DIALECT, reveal(environment, keyId))?.equals(keyHash))
        .map(({ keyId }) => keyId);
    },
  };
}
