import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findAgent } from '../../../src/customers/agent-customers.ts';
import { DEFAULT_CELL } from '../../../src/db/queryable.ts';
import { applyOperations, type SpendingOperation } from '../../../src/ledger/spending.ts';
import { newId } from '../../../src/lib/ids.ts';
import { registerPlans } from '../../../src/subscriptions/agent-store.ts';
import { createCreditView } from '../../../src/subscriptions/credits.ts';
import { DEFAULT_CREDITS_PER_USD, PLAN_VERSION, PLANS, type Plan } from '../../../src/subscriptions/plans.ts';
import { startGateway } from '../../support/gateway.ts';
import { createPayer } from '../../support/payment.ts';
import { ledgerBreaks, type MobulaGateway, movableClock, pay, status, subscribe } from './mobula-gateway.ts';

const USD = 1_000_000_000n;
const RENEWAL = '/subscribe?plan=startup&payment_frequency=monthly';

const clock = movableClock();
let gateway: MobulaGateway;

beforeAll(async () => {
  gateway = { ...(await startGateway({ clock })), clock };
});
afterEach(async () => {
  expect(await ledgerBreaks(gateway)).toEqual([]);
});
afterAll(async () => {
  await gateway?.stop();
});

type Wallet = Awaited<ReturnType<typeof createPayer>>;

type Spending = Pick<SpendingOperation, 'kind'> & { id?: string; amountNanoUsd: bigint; lifetimeMs?: number };

/** Uses credit of a wallet's agent, as metered calls do. */
async function use({ address }: Wallet, ...operations: Spending[]): Promise<void> {
  const agent = await findAgent(gateway.sql, { environment: 'live', network: 'eip155:8453', address });
  const { cell, accountId } = agent ?? expect.unreachable();
  for (const each of operations) {
    const operation = { id: newId(), ...each, accountId } as SpendingOperation;
    expect(await applyOperations(gateway.sql, cell, [operation])).toMatchObject([{ status: 'applied' }]);
  }
}

const spend = (wallet: Wallet, ...amounts: bigint[]) =>
  use(wallet, ...amounts.map(amountNanoUsd => ({ kind: 'debit', amountNanoUsd }) as const));

/** Changes to another plan, monthly. @returns the credits that the agent has then, beyond those of the new plan */
async function changeTo(wallet: Wallet, plan: 'startup' | 'growth'): Promise<number> {
  await subscribe(gateway, wallet, plan, 'monthly', '&upgrade=true');
  const { credits_left: credits } = await status(gateway, wallet);
  return Number(credits) - (plan === 'startup' ? 125_000 : 1_250_000);
}

/** What is left by time is less by the seconds that a test takes: of the startup plan three credits a minute. */
function expectAbout(credits: number, expected: number): void {
  expect(credits).toBeLessThanOrEqual(expected);
  expect(credits).toBeGreaterThan(expected - 50);
}

describe('plans that have been published', () => {
  const credits = createCreditView(DEFAULT_CREDITS_PER_USD);
  const register = (plans: readonly Plan[]) => registerPlans(gateway.sql, DEFAULT_CELL, { plans, credits });
  const stored = async () =>
    (await gateway.sql.query('SELECT * FROM cell_0.plan ORDER BY version, plan, frequency')).rows as object[];
  const changed = (change: Partial<Plan>) =>
    PLANS.map(each =>
      each.plan === 'growth' && each.frequency === 'yearly' ? { ...each, ...change } : each,
    );

  it.each<[string, Partial<Plan>]>([
    ['price', { priceNanoUsd: 4_199n * USD }],
    ['credits', { creditsPerPeriod: 1_250_001n }],
    ['number of credit periods', { creditPeriods: 11 }],
    ['length of a credit period', { creditPeriodDays: 29 }],
    ['days', { activeDays: 366 }],
  ])('keep their %s: another one is refused under the same version', async (_, change) => {
    const before = await stored();
    await expect(register(changed(change))).rejects.toThrow(
      'plan growth yearly was sold with other figures under this version: raise PLAN_VERSION',
    );
    expect(await stored()).toEqual(before);
    await register(PLANS);
    expect(await stored()).toEqual(before);
  });

  it('get a version beside the old one, and what was sold goes on', async () => {
    const wallet = await createPayer();
    await subscribe(gateway, wallet);
    const before = await stored();
    const version = PLAN_VERSION + 1;
    await register(changed({ priceNanoUsd: USD }).map(each => ({ ...each, version })));
    const after = await stored();
    expect(after).toHaveLength(before.length + PLANS.length);
    expect(after).toEqual(expect.arrayContaining(before));
    expect(await status(gateway, wallet)).toMatchObject({ left_days: 30, credits_left: 125_000 });
  });

  it('are neither changed nor deleted in the database', async () => {
    for (const statement of [
      'UPDATE cell_0.plan SET price = price - 1',
      "UPDATE cell_0.plan SET credit = 1 WHERE plan = 'startup'",
      "DELETE FROM cell_0.plan WHERE plan = 'enterprise'",
    ]) {
      await expect(gateway.sql.query(statement)).rejects.toThrow(/of plan is refused/);
    }
  });
});

describe.each([
  // Worth 60.9 credits, and 140.7.
  { creditsPerUsd: 3n, usd: '20.3', added: 60, sums: [60, 121, 182] },
  { creditsPerUsd: 7n, usd: '20.1', added: 140, sums: [140, 281, 422] },
])('$creditsPerUsd credits for a dollar', ({ creditsPerUsd, usd, added, sums }) => {
  let own: MobulaGateway;

  beforeAll(async () => {
    const settings = { CREDITS_PER_USD: creditsPerUsd.toString() };
    own = { ...(await startGateway({ replicaOf: gateway, clock, settings })), clock };
  });
  afterAll(async () => {
    await own?.stop();
  });

  it('are rounded once, when they are shown', async () => {
    const wallet = await createPayer();
    const { agentId } = await subscribe(own, wallet);
    expect(await status(own, wallet)).toMatchObject({ credits_left: 125_000 });
    for (const sum of sums) {
      expect(await pay(own, wallet, `/top-up?agent_id=${agentId}&amount_usd=${usd}`)).toMatchObject({
        status: 200,
        body: { credits_added: added, new_credits_limit: 125_000 + sum },
      });
    }
    const sum = sums.at(-1) ?? 0;
    expect(await status(own, wallet)).toMatchObject({ credits_left: 125_000 + sum });
    // A credit is no whole number of nano-USD; three of them are three all the same.
    const price = USD / creditsPerUsd + 1n;
    await spend(wallet, price, price, price);
    expect(await status(own, wallet)).toMatchObject({ credits_left: 125_000 + sum - 3 });
  });

  it('hold the largest plan', async () => {
    const wallet = await createPayer();
    await subscribe(own, wallet, 'enterprise');
    expect(await status(own, wallet)).toMatchObject({ credits_left: 1_000_000_000 });
  });
});

describe('a change of the plan gives back what is unused', () => {
  it('by the credits that are left, when they are less than the time', async () => {
    const wallet = await createPayer();
    await subscribe(gateway, wallet);
    clock.forwardDays(3);
    // $40 of the $50 that 125,000 credits are worth.
    await spend(wallet, 40n * USD);
    expect(await status(gateway, wallet)).toMatchObject({ credits_left: 25_000 });
    expect(await changeTo(wallet, 'growth')).toBe(25_000);
  });

  it('by the time that is left, when it is less than the credits', async () => {
    const wallet = await createPayer();
    await subscribe(gateway, wallet);
    await spend(wallet, 5n * USD);
    clock.forwardDays(24);
    expectAbout(await changeTo(wallet, 'growth'), 25_000);
  });

  it('of a plan whose credits are used up nothing', async () => {
    const wallet = await createPayer();
    const { agentId } = await subscribe(gateway, wallet);
    await pay(gateway, wallet, `/top-up?agent_id=${agentId}&amount_usd=20`);
    await spend(wallet, 60n * USD);
    expect(await status(gateway, wallet)).toMatchObject({ credits_left: 25_000 });
    // What was topped up stays.
    expect(await changeTo(wallet, 'growth')).toBe(25_000);
  });

  it('of credit that is held what its call does not take', async () => {
    const wallet = await createPayer();
    await subscribe(gateway, wallet);
    clock.forwardDays(3);
    const id = newId();
    await spend(wallet, 10n * USD);
    await use(wallet, { kind: 'hold', id, amountNanoUsd: 20n * USD, lifetimeMs: 60_000 });
    // $40 are unused, of which $20 are held.
    expect(await changeTo(wallet, 'growth')).toBe(100_000 - 50_000);
    await use(wallet, { kind: 'capture', id, amountNanoUsd: 5n * USD });
    expect(await status(gateway, wallet)).toMatchObject({ credits_left: 1_250_000 + 100_000 - 12_500 });
  });

  it('of a yearly plan its months to come, and what is left of this one', async () => {
    const wallet = await createPayer();
    await subscribe(gateway, wallet, 'startup', 'yearly');
    clock.forwardDays(31);
    expect(await status(gateway, wallet)).toMatchObject({ left_days: 334, credits_left: 125_000 });
    await spend(wallet, 40n * USD);
    // A fifth of the second month and ten more, of twelve that cost $400.
    expect(await changeTo(wallet, 'growth')).toBe(850_000);
    expect(await status(gateway, wallet)).toMatchObject({ payment_frequency: 'monthly', left_days: 30 });
  });

  it('of a renewal that has not begun all of it', async () => {
    const wallet = await createPayer();
    await subscribe(gateway, wallet);
    await subscribe(gateway, wallet);
    await subscribe(gateway, wallet, 'startup', 'yearly');
    expect(await status(gateway, wallet)).toMatchObject({ left_days: 425, credits_left: 125_000 });
    clock.forwardDays(3);
    await spend(wallet, 40n * USD);
    // A fifth of $50, and $50 and $400 of the renewals.
    expect(await changeTo(wallet, 'growth')).toBe(1_150_000);
    // Nothing of the old ones is left to come.
    clock.forwardDays(30);
    expect(await status(gateway, wallet)).toMatchObject({
      plan: 'growth',
      plan_active: false,
      left_days: 0,
      credits_left: 1_150_000,
    });
  });

  it('also when the new one is smaller', async () => {
    const wallet = await createPayer();
    await subscribe(gateway, wallet, 'growth');
    expect(
      await pay(gateway, wallet, '/subscribe?plan=startup&payment_frequency=monthly&upgrade=no'),
    ).toMatchObject({ status: 403 });
    clock.forwardDays(3);
    // All but a tenth of the $500 that its credits are worth as a top-up.
    await spend(wallet, 450n * USD);
    expect(await changeTo(wallet, 'startup')).toBe(100_000);
    expect(await status(gateway, wallet)).toMatchObject({
      plan: 'startup',
      plan_active: true,
      left_days: 30,
      credits_left: 225_000,
    });
  });
});

describe('a yearly plan at which nobody has looked for months', () => {
  it('has the credits of the month that it is in, and gets those to come', async () => {
    const wallet = await createPayer();
    await subscribe(gateway, wallet, 'startup', 'yearly');
    clock.forwardDays(95);
    expect(await status(gateway, wallet)).toMatchObject({ left_days: 270, credits_left: 125_000 });
    await spend(wallet, 40n * USD);
    expect(await status(gateway, wallet)).toMatchObject({ credits_left: 25_000 });
    // The fourth month ends with its day 120, whenever it was looked at first.
    clock.forwardDays(24);
    expect(await status(gateway, wallet)).toMatchObject({ credits_left: 25_000 });
    clock.forwardDays(1);
    expect(await status(gateway, wallet)).toMatchObject({ left_days: 245, credits_left: 125_000 });
    clock.forwardDays(215);
    expect(await status(gateway, wallet)).toMatchObject({ left_days: 30, credits_left: 125_000 });
    clock.forwardDays(29.9);
    expect(await status(gateway, wallet)).toMatchObject({ left_days: 1, credits_left: 125_000 });
    clock.forwardDays(0.1);
    expect(await status(gateway, wallet)).toMatchObject({ plan_active: false, credits_left: 0 });
  });

  it('gives back nothing of the months that went by', async () => {
    const wallet = await createPayer();
    await subscribe(gateway, wallet, 'startup', 'yearly');
    clock.forwardDays(330);
    // The last of twelve months, which has 35 days, is left.
    expectAbout(await changeTo(wallet, 'growth'), 83_333);
  });
});

describe('a renewal answers', () => {
  it('the newest key, the one that it names, or a new one when none is left', async () => {
    const wallet = await createPayer();
    const renew = (more = '') => subscribe(gateway, wallet, 'startup', 'monthly', more);
    const { agentId, apiKey: first } = await renew();
    const second = String((await pay(gateway, wallet, '/api-keys/create')).body['api_key']);
    expect(await renew()).toEqual({ agentId, apiKey: second });
    expect(await renew(`&api_key=${first}&user_id=${agentId}`)).toEqual({ agentId, apiKey: first });
    for (const key of [first, second]) await pay(gateway, wallet, `/api-keys/revoke?api_key=${key}`);
    expect(await pay(gateway, wallet, `${RENEWAL}&api_key=${first}`)).toMatchObject({ status: 403 });
    const { apiKey: third } = await renew();
    expect([first, second]).not.toContain(third);
    expect(await status(gateway, wallet)).toMatchObject({ api_keys: [third], left_days: 120 });
  });
});

describe('a replica whose clock is behind', () => {
  it('knows what was sold by the others’ clocks', async () => {
    const wallet = await createPayer();
    const { agentId, apiKey } = await subscribe(gateway, wallet);
    const behindDays = 20 / 86_400;
    clock.forwardDays(-behindDays);
    expect(await status(gateway, wallet)).toMatchObject({
      user_id: agentId,
      api_keys: [apiKey],
      plan: 'startup',
      plan_active: true,
      credits_left: 125_000,
    });
    const topup = await pay(gateway, wallet, `/top-up?agent_id=${agentId}&amount_usd=20`);
    expect(topup).toMatchObject({ status: 200, body: { new_credits_limit: 175_000 } });
    await subscribe(gateway, wallet);
    expect(await changeTo(wallet, 'growth')).toBe(50_000 + 250_000);
    clock.forwardDays(behindDays);
    expect(await status(gateway, wallet)).toMatchObject({ plan: 'growth', left_days: 30 });
  });
});
