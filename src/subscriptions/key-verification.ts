import { createAddressList } from '../customers/address-list.ts';
import { API_KEY_PREFIXES, hashApiKey, type KeyDialect } from '../customers/api-key-format.ts';
import { findApiKey, type OwnedApiKey } from '../customers/api-keys.ts';
import { orUnavailable } from '../db/pg-errors.ts';
import type { Queryable } from '../db/queryable.ts';
import { readBalance } from '../ledger/balances.ts';
import type { Clock } from '../lib/clock.ts';
import type { Environment } from '../ports/environment.ts';
import { formatAgentId } from './agent-id.ts';
import { readAgent } from './agent-store.ts';
import type { ApiToken, ApiTokens } from './api-tokens.ts';
import type { CreditView } from './credits.ts';

/** Who an API key, or a token made with it, acts for and what is left, for a backend that serves its requests. */
export interface VerifiedKey {
  kind: 'valid';
  keyId: string;
  dialect: KeyDialect;
  environment: Environment;
  customerId: string;
  availableNanoUsd: bigint;
  /** Whole credits, rounded down. */
  availableCredits: bigint;
  /** Absent for a customer that has never bought a plan. */
  agent: { agentId: string; plan: string; active: boolean; activeUntil: Date } | undefined;
  /** The token that was presented instead of the key, after this request was counted. */
  token: ApiToken | undefined;
}

export interface KeyVerification {
  /**
   * Looks a key up in the database, every time: a key that was revoked a moment ago is no key. A short-lived token
   * is one request fewer afterwards.
   * @param presented what came in `Authorization` or `x-api-key`; a token is good with `Bearer` before it alone
   * @param callerAddress who presented it; a key that is bound to addresses is good only from one of them
   * @returns undefined for a key that is unknown, expired, revoked or bound to other addresses; `exhausted` for a token
   * without requests left
   */
  verify(
    presented: string,
    callerAddress: string | undefined,
  ): Promise<VerifiedKey | { kind: 'exhausted' } | undefined>;
}

const BEARER = /^bearer +/i;
const DIALECTS = Object.keys(API_KEY_PREFIXES) as KeyDialect[];

export function createKeyVerification({
  db,
  clock,
  credits,
  tokens,
}: {
  db: Queryable;
  clock: Clock;
  credits: CreditView;
  /** Absent where none are made. */
  tokens: ApiTokens | undefined;
}): KeyVerification {
  async function findGoodKey(
    apiKey: string,
    callerAddress: string | undefined,
  ): Promise<OwnedApiKey | undefined> {
    const keyHash = DIALECTS.map(dialect => hashApiKey(dialect, apiKey)).find(hash => hash !== undefined);
    const key = keyHash && (await findApiKey(db, keyHash));
    if (!key || key.revokedAt || (key.expiresAt && key.expiresAt.getTime() <= clock.nowMs()))
      return undefined;
    const { allowedAddresses } = key;
    const allowed =
      allowedAddresses.length === 0 || createAddressList(allowedAddresses).has(callerAddress ?? '');
    return allowed ? key : undefined;
  }

  async function verify(presented: string, callerAddress: string | undefined) {
    const text = presented.trim();
    const credential = text.replace(BEARER, '');
    const key = await findGoodKey(credential, callerAddress);
    if (key) return describe(key, undefined);
    const use = BEARER.test(text) ? await tokens?.use(credential, callerAddress) : undefined;
    return use?.kind === 'used' ? describe(use.key, use.token) : use;
  }

  async function describe(
    { keyId, dialect, environment, customer }: OwnedApiKey,
    token: ApiToken | undefined,
  ): Promise<VerifiedKey> {
    const agent = await readAgent(db, customer.cell, customer.accountId, new Date(clock.nowMs()));
    // After the agent's plan was brought to now, which may have ended credit.
    const balance = await readBalance(db, customer.cell, customer.accountId);
    const availableNanoUsd = balance?.availableNanoUsd ?? 0n;
    return {
      kind: 'valid',
      keyId,
      dialect,
      environment,
      customerId: customer.customerId,
      availableNanoUsd,
      availableCredits: credits.creditsOf(availableNanoUsd),
      agent: agent && {
        agentId: formatAgentId(customer.customerId),
        plan: agent.plan,
        active: agent.active,
        activeUntil: agent.activeUntil,
      },
      token,
    };
  }

  return { verify: (presented, callerAddress) => orUnavailable(verify(presented, callerAddress)) };
}
