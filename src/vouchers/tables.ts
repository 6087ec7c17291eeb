import {
  bigint,
  boolean,
  customType,
  date,
  index,
  integer,
  jsonb,
  pgSchema,
  primaryKey,
  text,
  timestamp,
  unique,
  uuid,
} from 'drizzle-orm/pg-core';
import type { CellName } from '../db/queryable.ts';

const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' });
const int8 = (name: string) => bigint(name, { mode: 'bigint' });
const instant = (name: string) => timestamp(name, { withTimezone: true });
const createdAt = () => instant('created_at').notNull().defaultNow();

/** Tables of top-ups for others of one cell, for lists. The migrations are the truth; a test compares the two. */
export function topupTables(cell: CellName) {
  const schema = pgSchema(cell);
  const topup = schema.table(
    'topup',
    {
      topupId: uuid('topup_id').notNull(),
      transactionId: text('transaction_id').notNull(),
      accountId: int8('account_id').notNull(),
      environment: text('environment').notNull(),
      keyId: uuid('key_id').notNull(),
      spendingMonth: date('spending_month').notNull(),
      platform: text('platform').notNull(),
      amount: int8('amount').notNull(),
      recipientEmail: text('recipient_email'),
      reference: text('reference'),
      metadata: jsonb('metadata').notNull(),
      provider: text('provider').notNull(),
      state: text('state').notNull().default('pending'),
      failureReason: text('failure_reason'),
      asked: boolean('asked').notNull(),
      attempts: integer('attempts').notNull().default(1),
      voucher: text('voucher'),
      newBalance: int8('new_balance'),
      dueAt: instant('due_at').notNull(),
      createdAt: createdAt(),
      updatedAt: instant('updated_at').notNull().defaultNow(),
    },
    table => [
      primaryKey({ name: 'topup_pkey', columns: [table.topupId] }),
      unique('topup_transaction_key').on(table.transactionId),
      unique('topup_reference_key').on(table.accountId, table.reference),
      index('topup_due_idx').on(table.dueAt),
      index('topup_account_idx').on(table.accountId, table.topupId),
    ],
  );
  const topupCall = schema.table(
    'topup_call',
    {
      keyId: uuid('key_id').notNull(),
      idempotencyKey: text('idempotency_key').notNull(),
      requestHash: bytea('request_hash').notNull(),
      topupId: uuid('topup_id').notNull(),
      status: integer('status'),
      body: text('body'),
      createdAt: createdAt(),
    },
    table => [
      primaryKey({ name: 'topup_call_pkey', columns: [table.keyId, table.idempotencyKey] }),
      index('topup_call_created_idx').on(table.createdAt),
    ],
  );
  const keySpending = schema.table(
    'key_spending',
    { keyId: uuid('key_id').notNull(), month: date('month').notNull(), spent: int8('spent').notNull() },
    table => [primaryKey({ name: 'key_spending_pkey', columns: [table.keyId, table.month] })],
  );
  const voucher = schema.table(
    'voucher',
    {
      codeHash: bytea('code_hash').notNull(),
      topupId: uuid('topup_id').notNull(),
      environment: text('environment').notNull(),
      amount: int8('amount').notNull(),
      promotional: int8('promotional').notNull().default(0n),
      walletAccountId: int8('wallet_account_id').notNull(),
      walletCell: text('wallet_cell').notNull(),
      createdAt: createdAt(),
      redeemedAt: instant('redeemed_at'),
      redeemedCustomerId: uuid('redeemed_customer_id'),
    },
    table => [
      primaryKey({ name: 'voucher_pkey', columns: [table.codeHash] }),
      unique('voucher_topup_key').on(table.topupId),
    ],
  );
  return { topup, topupCall, keySpending, voucher };
}
