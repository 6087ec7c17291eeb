import type { Pool } from 'pg';
import type { Config } from '../config/config.ts';
import type { CellName } from '../db/queryable.ts';
import type { Clock } from '../lib/clock.ts';
import type { PurposeEffect } from '../payments/purpose-effect.ts';
import { createAgentKeys } from '../subscriptions/agent-keys.ts';
import { createAgentEffects } from '../subscriptions/agent-purposes.ts';
import { advanceDueAgents, registerPlans } from '../subscriptions/agent-store.ts';
import { type Agents, createAgents } from '../subscriptions/agents.ts';
import { createTokenFormat } from '../subscriptions/api-token-format.ts';
import { forgetExpiredTokens } from '../subscriptions/api-token-store.ts';
import { type ApiTokens, createApiTokens } from '../subscriptions/api-tokens.ts';
import { createCreditView } from '../subscriptions/credits.ts';
import { createKeyVerification, type KeyVerification } from '../subscriptions/key-verification.ts';
import { PLANS } from '../subscriptions/plans.ts';
import { forgetTask, type Task } from './background.ts';

const ADVANCE_EVERY_MS = 10_000;

/** Agents with their plans and keys. Without a secret nothing can be sold, but what was sold goes on. */
export interface AgentParts {
  agents: Agents | undefined;
  effects: Record<string, PurposeEffect>;
  keyVerification: KeyVerification;
  /** Absent without a secret, as agents are. */
  apiTokens: ApiTokens | undefined;
  /** To be called before the first sale. */
  register(): Promise<void>;
  tasks: Task[];
}

export function createAgentParts(
  { mppSecretKey, agentKeySecret, creditsPerUsd }: Config,
  { pool, cells, clock }: { pool: Pool; cells: readonly CellName[]; clock: Clock },
): AgentParts {
  const credits = createCreditView(creditsPerUsd);
  const apiTokens = mppSecretKey
    ? createApiTokens({ db: pool, clock, format: createTokenFormat(agentKeySecret) })
    : undefined;
  const keys = mppSecretKey ? createAgentKeys({ secret: agentKeySecret, clock }) : undefined;
  return {
    agents: keys && createAgents({ db: pool, clock, keys, credits }),
    effects: keys ? createAgentEffects(keys) : {},
    apiTokens,
    keyVerification: createKeyVerification({ db: pool, clock, credits, tokens: apiTokens }),
    async register() {
      for (const cell of cells) await registerPlans(pool, cell, { plans: PLANS, credits });
    },
    tasks: cells.flatMap(cell => [
      {
        everyMs: ADVANCE_EVERY_MS,
        problem: 'plans that are due could not be advanced',
        round: () => advanceDueAgents(pool, cell, new Date(clock.nowMs())),
      },
      forgetTask('API tokens that have ended could not be deleted', () =>
        forgetExpiredTokens(pool, cell, new Date(clock.nowMs())),
      ),
    ]),
  };
}
