import {
  bigint,
  cidr,
  customType,
  date,
  foreignKey,
  index,
  integer,
  pgSchema,
  primaryKey,
  text,
  timestamp,
  unique,
  uuid,
} from 'drizzle-orm/pg-core';
import type { CellName } from '../db/queryable.ts';

/**
 * The directory's tables for lists and joins. `migrations/directory` is the truth; a test compares the two.
 */
const directory = pgSchema('directory');

const createdAt = () => timestamp('created_at', { withTimezone: true }).notNull().defaultNow();

export const customer = directory.table(
  'customer',
  {
    customerId: uuid('customer_id').notNull(),
    environment: text('environment').notNull(),
    accountId: bigint('account_id', { mode: 'bigint' }).generatedAlwaysAsIdentity().notNull(),
    cell: text('cell').notNull(),
    createdAt: createdAt(),
  },
  table => [
    primaryKey({ name: 'customer_pkey', columns: [table.customerId] }),
    unique('customer_account_key').on(table.accountId),
    unique('customer_environment_key').on(table.customerId, table.environment),
  ],
);

export const cellRegister = directory.table(
  'cell',
  {
    cell: text('cell').notNull(),
    /** Null: no process has looked after it yet. */
    share: integer('share'),
    createdAt: createdAt(),
  },
  table => [primaryKey({ name: 'cell_pkey', columns: [table.cell] })],
);

export const customerIdentity = directory.table(
  'customer_identity',
  {
    environment: text('environment').notNull(),
    kind: text('kind').notNull(),
    value: text('value').notNull(),
    customerId: uuid('customer_id').notNull(),
    createdAt: createdAt(),
  },
  table => [
    primaryKey({ name: 'customer_identity_pkey', columns: [table.environment, table.kind, table.value] }),
    foreignKey({
      name: 'customer_identity_customer_fkey',
      columns: [table.customerId, table.environment],
      foreignColumns: [customer.customerId, customer.environment],
    }),
    index('customer_identity_customer_idx').on(table.customerId),
  ],
);

export const agent = directory.table(
  'agent',
  {
    ownerId: uuid('owner_id').notNull(),
    environment: text('environment').notNull(),
    customerId: uuid('customer_id').notNull(),
    createdAt: createdAt(),
  },
  table => [
    primaryKey({ name: 'agent_pkey', columns: [table.ownerId] }),
    unique('agent_customer_key').on(table.customerId),
    foreignKey({
      name: 'agent_owner_fkey',
      columns: [table.ownerId, table.environment],
      foreignColumns: [customer.customerId, customer.environment],
    }),
    foreignKey({
      name: 'agent_customer_fkey',
      columns: [table.customerId, table.environment],
      foreignColumns: [customer.customerId, customer.environment],
    }),
  ],
);

export const proofNonce = directory.table(
  'proof_nonce',
  {
    wallet: text('wallet').notNull(),
    nonce: text('nonce').notNull(),
    expiresAt: timestamp('expires_at', { withTimezone: true }).notNull(),
  },
  table => [
    primaryKey({ name: 'proof_nonce_pkey', columns: [table.wallet, table.nonce] }),
    index('proof_nonce_expires_idx').on(table.expiresAt),
  ],
);

const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' });

export const apiKey = directory.table(
  'api_key',
  {
    keyHash: bytea('key_hash').notNull(),
    keyId: uuid('key_id').notNull(),
    customerId: uuid('customer_id').notNull(),
    environment: text('environment').notNull(),
    dialect: text('dialect').notNull(),
    lastFour: text('last_four').notNull(),
    allowedAddresses: cidr('allowed_addresses').array().notNull().default([]),
    createdAt: createdAt(),
    expiresAt: timestamp('expires_at', { withTimezone: true }),
    revokedAt: timestamp('revoked_at', { withTimezone: true }),
    spendingCap: bigint('spending_cap', { mode: 'bigint' }),
    createdBy: text('created_by'),
    revokedBy: text('revoked_by'),
  },
  table => [
    primaryKey({ name: 'api_key_pkey', columns: [table.keyHash] }),
    unique('api_key_id_key').on(table.keyId),
    foreignKey({
      name: 'api_key_customer_fkey',
      columns: [table.customerId, table.environment],
      foreignColumns: [customer.customerId, customer.environment],
    }),
    index('api_key_customer_idx').on(table.customerId, table.keyId),
  ],
);

export const channelMessage = directory.table(
  'channel_message',
  {
    messageId: uuid('message_id').notNull(),
    environment: text('environment').notNull(),
    channel: text('channel').notNull(),
    customerId: uuid('customer_id').notNull(),
    authorName: text('author_name').notNull(),
    avatarUrl: text('avatar_url'),
    content: text('content').notNull(),
    createdAt: timestamp('created_at', { withTimezone: true }).notNull(),
  },
  table => [
    primaryKey({ name: 'channel_message_pkey', columns: [table.messageId] }),
    foreignKey({
      name: 'channel_message_customer_fkey',
      columns: [table.customerId, table.environment],
      foreignColumns: [customer.customerId, customer.environment],
    }),
    index('channel_message_channel_idx').on(
      table.environment,
      table.channel,
      table.createdAt,
      table.messageId,
    ),
  ],
);

export const customerLink = directory.table(
  'customer_link',
  {
    linkId: uuid('link_id').notNull(),
    environment: text('environment').notNull(),
    customerId: uuid('customer_id').notNull(),
    firstValue: text('first_value').notNull(),
    secondValue: text('second_value').notNull(),
    removedCustomerId: uuid('removed_customer_id'),
    removedAccountId: bigint('removed_account_id', { mode: 'bigint' }),
    actor: text('actor').notNull(),
    reason: text('reason').notNull(),
    createdAt: createdAt(),
  },
  table => [
    primaryKey({ name: 'customer_link_pkey', columns: [table.linkId] }),
    index('customer_link_customer_idx').on(table.customerId),
  ],
);

export const operatorCredit = directory.table(
  'operator_credit',
  {
    idempotencyKey: text('idempotency_key').notNull(),
    creditId: uuid('credit_id').notNull(),
    customerId: uuid('customer_id').notNull(),
    environment: text('environment').notNull(),
    amount: bigint('amount', { mode: 'bigint' }).notNull(),
    reason: text('reason').notNull(),
    actor: text('actor').notNull(),
    createdAt: createdAt(),
  },
  table => [
    primaryKey({ name: 'operator_credit_pkey', columns: [table.idempotencyKey] }),
    unique('operator_credit_id_key').on(table.creditId),
    foreignKey({
      name: 'operator_credit_customer_fkey',
      columns: [table.customerId, table.environment],
      foreignColumns: [customer.customerId, customer.environment],
    }),
    index('operator_credit_customer_idx').on(table.customerId),
  ],
);

/** What customers have in a cell beside their accounts. */
export function customerCellTables(cell: CellName) {
  const keySpend = pgSchema(cell).table(
    'key_spend',
    {
      accountId: bigint('account_id', { mode: 'bigint' }).notNull(),
      keyId: uuid('key_id').notNull(),
      month: date('month').notNull(),
      spent: bigint('spent', { mode: 'bigint' }).notNull(),
    },
    table => [primaryKey({ name: 'key_spend_pkey', columns: [table.accountId, table.keyId] })],
  );
  return { keySpend };
}
