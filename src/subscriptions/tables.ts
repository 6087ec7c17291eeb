import {
  bigint,
  foreignKey,
  index,
  integer,
  pgSchema,
  primaryKey,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core';
import type { CellName } from '../db/queryable.ts';

/** Tables of plans for lists and joins. The migrations are the truth; a test compares the two. */
export function subscriptionTables(cell: CellName) {
  const schema = pgSchema(cell);
  const time = (name: string) => timestamp(name, { withTimezone: true }).notNull();
  const plan = schema.table(
    'plan',
    {
      version: text('version').notNull(),
      plan: text('plan').notNull(),
      frequency: text('frequency').notNull(),
      price: bigint('price', { mode: 'bigint' }).notNull(),
      credit: bigint('credit', { mode: 'bigint' }).notNull(),
      creditPeriods: integer('credit_periods').notNull(),
      creditPeriodDays: integer('credit_period_days').notNull(),
      activeDays: integer('active_days').notNull(),
    },
    table => [primaryKey({ name: 'plan_pkey', columns: [table.version, table.plan, table.frequency] })],
  );
  const agent = schema.table(
    'agent',
    {
      accountId: bigint('account_id', { mode: 'bigint' }).notNull(),
      environment: text('environment').notNull(),
      createdAt: time('created_at'),
      lastPaymentAt: time('last_payment_at'),
      creditLimit: bigint('credit_limit', { mode: 'bigint' }).notNull().default(0n),
    },
    table => [primaryKey({ name: 'agent_pkey', columns: [table.accountId] })],
  );
  const planPeriod = schema.table(
    'plan_period',
    {
      accountId: bigint('account_id', { mode: 'bigint' }).notNull(),
      paymentId: uuid('payment_id').notNull(),
      version: text('version').notNull(),
      plan: text('plan').notNull(),
      frequency: text('frequency').notNull(),
      startsAt: time('starts_at'),
      endsAt: time('ends_at'),
      creditPeriod: integer('credit_period').notNull().default(0),
      grantId: uuid('grant_id'),
      dueAt: time('due_at'),
    },
    table => [
      primaryKey({ name: 'plan_period_pkey', columns: [table.accountId, table.paymentId] }),
      foreignKey({
        name: 'plan_period_plan_fkey',
        columns: [table.version, table.plan, table.frequency],
        foreignColumns: [plan.version, plan.plan, plan.frequency],
      }),
      index('plan_period_due_idx').on(table.dueAt),
      index('plan_period_end_idx').on(table.accountId, table.endsAt),
    ],
  );
  const apiToken = schema.table(
    'api_token',
    {
      accountId: bigint('account_id', { mode: 'bigint' }).notNull(),
      tokenId: uuid('token_id').notNull(),
      keyId: uuid('key_id').notNull(),
      requestLimit: integer('request_limit').notNull(),
      remaining: integer('remaining').notNull(),
      createdAt: time('created_at'),
      expiresAt: time('expires_at'),
      revokedAt: timestamp('revoked_at', { withTimezone: true }),
    },
    table => [
      primaryKey({ name: 'api_token_pkey', columns: [table.accountId, table.tokenId] }),
      index('api_token_key_idx').on(table.accountId, table.keyId, table.expiresAt),
      index('api_token_expires_idx').on(table.expiresAt),
    ],
  );
  return { plan, agent, planPeriod, apiToken };
}
