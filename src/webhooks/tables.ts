import {
  bigint,
  boolean,
  index,
  jsonb,
  pgSchema,
  primaryKey,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core';
import type { CellName } from '../db/queryable.ts';

/** Tables of webhooks for lists and joins. The migrations are the truth; a test compares the two. */

const instant = (name: string) => timestamp(name, { withTimezone: true });

export const webhookEndpoint = pgSchema('directory').table(
  'webhook_endpoint',
  {
    endpointId: uuid('endpoint_id').notNull(),
    environment: text('environment').notNull(),
    kind: text('kind').notNull(),
    customerId: uuid('customer_id'),
    accountId: bigint('account_id', { mode: 'bigint' }),
    url: text('url').notNull(),
    events: text('events').array().notNull(),
    secret: text('secret').notNull(),
    previousSecret: text('previous_secret'),
    previousSecretUntil: instant('previous_secret_until'),
    active: boolean('active').notNull().default(true),
    createdAt: instant('created_at').notNull().defaultNow(),
  },
  table => [
    primaryKey({ name: 'webhook_endpoint_pkey', columns: [table.endpointId] }),
    index('webhook_endpoint_account_idx').on(table.environment, table.accountId),
  ],
);

/** The tables of webhooks of one cell; the events are `outbox` in the payment tables. */
export function webhookTables(cell: CellName) {
  const webhookDelivery = pgSchema(cell).table(
    'webhook_delivery',
    {
      deliveryId: uuid('delivery_id').notNull(),
      eventId: uuid('event_id').notNull(),
      environment: text('environment').notNull(),
      endpointId: uuid('endpoint_id').notNull(),
      accountId: bigint('account_id', { mode: 'bigint' }),
      state: text('state').notNull().default('pending'),
      replayOf: uuid('replay_of'),
      attempts: jsonb('attempts').notNull().default([]),
      dueAt: instant('due_at').notNull(),
      inFlight: boolean('in_flight').notNull().default(false),
      createdAt: instant('created_at').notNull().defaultNow(),
    },
    table => [
      primaryKey({ name: 'webhook_delivery_pkey', columns: [table.deliveryId] }),
      index('webhook_delivery_queue_idx').on(table.endpointId, table.dueAt),
      index('webhook_delivery_event_idx').on(table.eventId),
      index('webhook_delivery_account_idx').on(table.accountId, table.environment, table.deliveryId),
    ],
  );
  return { webhookDelivery };
}
