import type { CellName, Queryable } from '../db/queryable.ts';
import type { CreditView } from './credits.ts';
import type { Plan } from './plans.ts';

/** What an agent has at one time. Amounts in nano-USD. */
export interface AgentState {
  plan: string;
  frequency: string;
  lastPaymentAt: Date;
  /** When the time that is paid for ends, or ended. */
  activeUntil: Date;
  active: boolean;
  availableNanoUsd: bigint;
}

interface AgentRow {
  plan: string;
  frequency: string;
  last_payment_at: Date;
  active_until: Date;
  active: boolean;
  available: string;
}

/**
 * Reads an agent at `now`, after its plan was brought there: what is over is shown as over, whether or not a
 * worker has been by.
 * @returns undefined for an account that has never bought a plan
 */
export async function readAgent(
  db: Queryable,
  cell: CellName,
  accountId: bigint,
  now: Date,
): Promise<AgentState | undefined> {
  const { rows } = await db.query<AgentRow>({
    name: `${cell}.agent_state`,
    text: `SELECT plan, frequency, last_payment_at, active_until, active, available FROM "${cell}".agent_state($1, $2)`,
    values: [accountId, now],
  });
  const [row] = rows;
  return (
    row && {
      plan: row.plan,
      frequency: row.frequency,
      lastPaymentAt: row.last_payment_at,
      activeUntil: row.active_until,
      active: row.active,
      availableNanoUsd: BigInt(row.available),
    }
  );
}

/** Agents that one call advances. */
const BATCH = 200;
const MAX_BATCHES = 100;

/**
 * Brings every plan that is due to `now`: ends what is over and grants what begins. Replicas may do so at once.
 * @returns how many agents were advanced
 */
export async function advanceDueAgents(db: Queryable, cell: CellName, now: Date): Promise<number> {
  let total = 0;
  for (let batch = 0; batch < MAX_BATCHES; batch += 1) {
    const { rows } = await db.query<{ agents: number }>({
      name: `${cell}.advance_due_agents`,
      text: `SELECT agents FROM "${cell}".advance_due_agents($1, $2)`,
      values: [now, BATCH],
    });
    const agents = rows[0]?.agents ?? 0;
    total += agents;
    if (agents === 0) break;
  }
  return total;
}

/** Names the terms of a plan: how many credits a dollar is worth belongs to them. */
export function versionOf({ version }: Plan, { creditsPerUsd }: CreditView): string {
  return `${version}/${creditsPerUsd}`;
}

/**
 * Stores the plans that are on sale, so that what is sold of them can be read for ever.
 * @throws when a version is stored with other figures: plans are changed by a new version only
 */
export async function registerPlans(
  db: Queryable,
  cell: CellName,
  { plans, credits }: { plans: readonly Plan[]; credits: CreditView },
): Promise<void> {
  const { rows } = await db.query<{ plan: string; frequency: string }>({
    name: `${cell}.register_plans`,
    text: `WITH given AS (
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::int[], $7::int[],
               $8::int[]) p(version, plan, frequency, price, credit, credit_periods, credit_period_days, active_days)
           ), added AS (
             INSERT INTO "${cell}".plan SELECT * FROM given ON CONFLICT DO NOTHING
           )
           SELECT g.plan, g.frequency FROM given g JOIN "${cell}".plan p USING (version, plan, frequency)
           WHERE (g.*) IS DISTINCT FROM (p.*)`,
    values: [
      plans.map(p => versionOf(p, credits)),
      plans.map(p => p.plan),
      plans.map(p => p.frequency),
      plans.map(p => p.priceNanoUsd),
      plans.map(p => credits.moneyOf(p.creditsPerPeriod)),
      plans.map(p => p.creditPeriods),
      plans.map(p => p.creditPeriodDays),
      plans.map(p => p.activeDays),
    ],
  });
  const [changed] = rows;
  if (changed) {
    throw new Error(
      `plan ${changed.plan} ${changed.frequency} was sold with other figures under this version: ` +
        'raise PLAN_VERSION',
    );
  }
}
