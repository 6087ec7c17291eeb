import { NANO_PER_USD } from '../lib/money.ts';

/** What is on sale. A change of any figure is a new version: what was sold goes on under its own terms. */
export const PLAN_VERSION = 1;

export const PLAN_NAMES = ['startup', 'growth', 'enterprise'] as const;
export type PlanName = (typeof PLAN_NAMES)[number];

export const FREQUENCIES = ['monthly', 'yearly'] as const;
export type Frequency = (typeof FREQUENCIES)[number];

export interface Plan {
  version: number;
  plan: PlanName;
  frequency: Frequency;
  priceNanoUsd: bigint;
  /** Credits of each credit period; what is left of them ends with it. */
  creditsPerPeriod: bigint;
  creditPeriods: number;
  creditPeriodDays: number;
  /** How long the plan lasts; the last credit period lasts as long. */
  activeDays: number;
}

const MONTHLY = { frequency: 'monthly', creditPeriods: 1, creditPeriodDays: 30, activeDays: 30 } as const;
const YEARLY = { frequency: 'yearly', creditPeriods: 12, creditPeriodDays: 30, activeDays: 365 } as const;

/** Published as unlimited: a number that nobody uses up, because a balance needs one. */
const UNLIMITED = 1_000_000_000n;

/** Prices in dollars and credits are Mobula's published table; of enterprise the base price. */
const TABLE: readonly [PlanName, credits: bigint, monthlyUsd: bigint, yearlyUsd: bigint][] = [
  ['startup', 125_000n, 50n, 400n],
  ['growth', 1_250_000n, 400n, 4_200n],
  ['enterprise', UNLIMITED, 750n, 7_200n],
];

export const PLANS: readonly Plan[] = TABLE.flatMap(([plan, creditsPerPeriod, monthlyUsd, yearlyUsd]) => {
  const common = { version: PLAN_VERSION, plan, creditsPerPeriod };
  return [
    { ...common, ...MONTHLY, priceNanoUsd: monthlyUsd * NANO_PER_USD },
    { ...common, ...YEARLY, priceNanoUsd: yearlyUsd * NANO_PER_USD },
  ];
});

/** The plan that is on sale now. */
export function findPlan(plan: PlanName, frequency: Frequency): Plan {
  const found = PLANS.find(each => each.plan === plan && each.frequency === frequency);
  if (!found) throw new Error(`every plan is sold ${frequency}`);
  return found;
}

/** The ratio of the startup plan, at which credit that is topped up is shown too. */
export const DEFAULT_CREDITS_PER_USD = 2_500n;
