import { createAddressList } from '../customers/address-list.ts';
import { API_KEY_PREFIXES, hashApiKey, type KeyDialect } from '../customers/api-key-format.ts';
import { findApiKey } from '../customers/api-keys.ts';
import { orUnavailable } from '../db/pg-errors.ts';
import type { Queryable } from '../db/queryable.ts';
import { readBalance } from '../ledger/balances.ts';
import type { Clock } from '../lib/clock.ts';
import type { Environment } from '../ports/environment.ts';
import { formatAgentId } from './agent-id.ts';
import { readAgent } from './agent-store.ts';
import type { CreditView } from './credits.ts';

/** Who an API key acts for and what is left, for a backend that serves its requests. */
export interface VerifiedKey {
  keyId: string;
  dialect: KeyDialect;
  environment: Environment;
  customerId: string;
  availableNanoUsd: bigint;
  /** Whole credits, rounded down. */
  availableCredits: bigint;
  /** Absent for a customer that has never bought a plan. */
  agent: { agentId: string; plan: string; active: boolean; activeUntil: Date } | undefined;
}

export interface KeyVerification {
  /**
   * Looks a key up in the database, every time: a key that was revoked a moment ago is no key.
   * @param presented the key as it came, also with `Bearer` before it
   * @param callerAddress who presented it; a key that is bound to addresses is good only from one of them
   * @returns undefined for a key that is unknown, expired, revoked or bound to other addresses
   */
  verify(presented: string, callerAddress: string | undefined): Promise<VerifiedKey | undefined>;
}

const BEARER = /^bearer +/i;
const DIALECTS = Object.keys(API_KEY_PREFIXES) as KeyDialect[];

export function createKeyVerification({
  db,
  clock,
  credits,
}: {
  db: Queryable;
  clock: Clock;
  credits: CreditView;
}): KeyVerification {
  async function verify(
    presented: string,
    callerAddress: string | undefined,
  ): Promise<VerifiedKey | undefined> {
    const apiKey = presented.trim().replace(BEARER, '');
    const keyHash = DIALECTS.map(dialect => hashApiKey(dialect, apiKey)).find(hash => hash !== undefined);
    const key = keyHash && (await findApiKey(db, keyHash));
    if (!key || key.revokedAt || (key.expiresAt && key.expiresAt.getTime() <= clock.nowMs()))
      return undefined;
    const { allowedAddresses, customer } = key;
    const allowed =
      allowedAddresses.length === 0 || createAddressList(allowedAddresses).has(callerAddress ?? '');
    if (!allowed) return undefined;
    const agent = await readAgent(db, customer.cell, customer.accountId, new Date(clock.nowMs()));
    // After the agent's plan was brought to now, which may have ended credit.
    const balance = await readBalance(db, customer.cell, customer.accountId);
    const availableNanoUsd = balance?.availableNanoUsd ?? 0n;
    return {
      keyId: key.keyId,
      dialect: key.dialect,
      environment: key.environment,
      customerId: customer.customerId,
      availableNanoUsd,
      availableCredits: credits.creditsOf(availableNanoUsd),
      agent: agent && {
        agentId: formatAgentId(customer.customerId),
        plan: agent.plan,
        active: agent.active,
        activeUntil: agent.activeUntil,
      },
    };
  }

  return { verify: (presented, callerAddress) => orUnavailable(verify(presented, callerAddress)) };
}
