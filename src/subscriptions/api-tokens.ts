import { createAddressList } from '../customers/address-list.ts';
import { hashApiKey } from '../customers/api-key-format.ts';
import { findApiKey, findApiKeyById, type OwnedApiKey } from '../customers/api-keys.ts';
import { orUnavailable } from '../db/pg-errors.ts';
import type { Queryable } from '../db/queryable.ts';
import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import { newId } from '../lib/ids.ts';
import { formatAgentId } from './agent-id.ts';
import { readAgent } from './agent-store.ts';
import type { TokenFormat } from './api-token-format.ts';
import {
  type ApiToken,
  findToken,
  listTokens,
  revokeToken,
  storeTokens,
  type TokenOwner,
  takeRequest,
} from './api-token-store.ts';

export type { ApiToken } from './api-token-store.ts';

export interface TokenOrder {
  count: number;
  lifetimeMs: number;
  requestLimit: number;
}

/** What presenting a token came to. */
export type TokenUse =
  | { kind: 'used'; token: ApiToken; key: OwnedApiKey }
  /** It has no requests left. */
  | { kind: 'exhausted' };

/**
 * Short-lived tokens that an agent's key makes for others: signed, counted and revocable. Every call reads the
 * database, so what was revoked a moment ago is gone, and throws GatewayError `unavailable` while that is down.
 */
export interface ApiTokens {
  /** @throws GatewayError `unauthorized` for what is no good key of an agent; tokens make no tokens */
  authenticate(presented: string | undefined, callerAddress: string): Promise<OwnedApiKey>;
  /** @throws GatewayError `forbidden` without an active plan, or when the key has too many */
  create(key: OwnedApiKey, order: TokenOrder): Promise<(ApiToken & { token: string })[]>;
  /** Good ones, newest first; at most 1,000. */
  list(key: OwnedApiKey): Promise<ApiToken[]>;
  /** @returns undefined for what is no good token of this key */
  inspect(key: OwnedApiKey, token: string): Promise<ApiToken | undefined>;
  revoke(key: OwnedApiKey, tokenId: string): Promise<boolean>;
  /** Takes one request from a token. @returns undefined for what is no good token */
  use(token: string, callerAddress: string | undefined): Promise<TokenUse | undefined>;
}

const MAX_LISTED = 1_000;
/** Published is no bound; 25 tokens five times a minute for a day would be 180,000. */
const MAX_TOKENS_PER_KEY = 10_000;

export function createApiTokens({
  db,
  clock,
  format,
}: {
  db: Queryable;
  clock: Clock;
  format: TokenFormat;
}): ApiTokens {
  const now = () => new Date(clock.nowMs());

  function isGood(key: OwnedApiKey | undefined, callerAddress: string | undefined): key is OwnedApiKey {
    if (!key || key.dialect !== 'mobula' || key.revokedAt || (key.expiresAt && key.expiresAt <= now())) {
      return false;
    }
    const { allowedAddresses } = key;
    return allowedAddresses.length === 0 || createAddressList(allowedAddresses).has(callerAddress ?? '');
  }

  async function authenticate(presented: string | undefined, callerAddress: string): Promise<OwnedApiKey> {
    const keyHash = presented === undefined ? undefined : hashApiKey('mobula', presented);
    const key = keyHash && (await findApiKey(db, keyHash));
    if (!isGood(key, callerAddress)) {
      throw new GatewayError('unauthorized', 'this needs an API key of an agent, and a good one');
    }
    return key;
  }

  async function create(key: OwnedApiKey, { count, lifetimeMs, requestLimit }: TokenOrder) {
    const { cell, accountId, customerId } = key.customer;
    const at = now();
    const agent = await readAgent(db, cell, accountId, at);
    if (!agent?.active) throw new GatewayError('forbidden', 'tokens need an active plan: subscribe first');
    // A token says its end in whole seconds.
    const expiresAt = new Date(Math.floor((at.getTime() + lifetimeMs) / 1_000) * 1_000);
    const tokenIds = Array.from({ length: count }, () => newId(at.getTime()));
    const order = { tokenIds, requestLimit, expiresAt, now: at, most: MAX_TOKENS_PER_KEY };
    if (!(await storeTokens(db, ownerOf(key), order))) {
      throw new GatewayError('forbidden', `a key has at most ${MAX_TOKENS_PER_KEY} tokens at a time`);
    }
    const common = {
      sub: formatAgentId(customerId),
      key: key.keyId,
      iat: seconds(at),
      exp: seconds(expiresAt),
    };
    return tokenIds.map(tokenId => ({
      tokenId,
      requestLimit,
      remaining: requestLimit,
      expiresAt,
      token: format.sign({ ...common, jti: tokenId }),
    }));
  }

  async function inspect(key: OwnedApiKey, token: string): Promise<ApiToken | undefined> {
    const claims = format.read(token);
    if (claims?.key !== key.keyId) return undefined;
    return findToken(db, ownerOf(key), { tokenId: claims.jti, now: now() });
  }

  async function use(token: string, callerAddress: string | undefined): Promise<TokenUse | undefined> {
    const claims = format.read(token);
    const at = now();
    if (!claims || claims.exp <= seconds(at)) return undefined;
    const key = await findApiKeyById(db, claims.key);
    if (!isGood(key, callerAddress)) return undefined;
    const wanted = { tokenId: claims.jti, now: at };
    const taken = await takeRequest(db, ownerOf(key), wanted);
    if (taken) return { kind: 'used', token: taken, key };
    return (await findToken(db, ownerOf(key), wanted)) && { kind: 'exhausted' };
  }

  return {
    authenticate: (presented, callerAddress) => orUnavailable(authenticate(presented, callerAddress)),
    create: (key, order) => orUnavailable(create(key, order)),
    list: key => orUnavailable(listTokens(db, ownerOf(key), { now: now(), limit: MAX_LISTED })),
    inspect: (key, token) => orUnavailable(inspect(key, token)),
    revoke: (key, tokenId) => orUnavailable(revokeToken(db, ownerOf(key), { tokenId, now: now() })),
    use: (token, callerAddress) => orUnavailable(use(token, callerAddress)),
  };
}

function ownerOf({ keyId, customer: { cell, accountId } }: OwnedApiKey): TokenOwner {
  return { cell, accountId, keyId };
}

function seconds(date: Date): number {
  return Math.floor(date.getTime() / 1_000);
}
