import type { Pool } from 'pg';
import type { Config } from '../config/config.ts';
import type { CellName } from '../db/queryable.ts';
import type { Clock } from '../lib/clock.ts';
import type { PurposeEffect } from '../payments/purpose-effect.ts';
import { createAgentKeys } from '../subscriptions/agent-keys.ts';
import { createAgentEffects } from '../subscriptions/agent-purposes.ts';
import { advanceDueAgents, registerPlans } from '../subscriptions/agent-store.ts';
import { type Agents, createAgents } from '../subscriptions/agents.ts';
import { createCreditView } from '../subscriptions/credits.ts';
import { createKeyVerification, type KeyVerification } from '../subscriptions/key-verification.ts';
import { PLANS } from '../subscriptions/plans.ts';
import type { Task } from './background.ts';

const ADVANCE_EVERY_MS = 10_000;

/** Agents with their plans and keys. Without a secret nothing can be sold, but what was sold goes on. */
export interface AgentParts {
  agents: Agents | undefined;
  effects: Record<string, PurposeEffect>;
  keyVerification: KeyVerification;
  /** To be called before the first sale. */
  register(): Promise<void>;
  tasks: Task[];
}

export function createAgentParts(
  { mppSecretKey, agentKeySecret, creditsPerUsd }: Config,
  { pool, cells, clock }: { pool: Pool; cells: readonly CellName[]; clock: Clock },
): AgentParts {
  const credits = createCreditView(creditsPerUsd);
  const keys = mppSecretKey ? createAgentKeys({ secret: agentKeySecret, clock }) : undefined;
  return {
    agents: keys && createAgents({ db: pool, clock, keys, credits }),
    effects: keys ? createAgentEffects(keys) : {},
    keyVerification: createKeyVerification({ db: pool, clock, credits }),
    async register() {
      for (const cell of cells) await registerPlans(pool, cell, { plans: PLANS, credits });
    },
    tasks: cells.map(cell => ({
      everyMs: ADVANCE_EVERY_MS,
      problem: 'plans that are due could not be advanced',
      round: () => advanceDueAgents(pool, cell, new Date(clock.nowMs())),
    })),
  };
}
