import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  customType,
  date,
  index,
  integer,
  numeric,
  pgSchema,
  primaryKey,
  smallint,
  text,
  timestamp,
  unique,
  uuid,
} from 'drizzle-orm/pg-core';
import type { CellName } from '../db/queryable.ts';

/** Sets of sequence numbers; drizzle has no type of its own for them. */
const int8multirange = customType<{ data: string }>({ dataType: () => 'int8multirange' });

const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' });

const int8 = (name: string) => bigint(name, { mode: 'bigint' }).notNull();
const instant = (name: string) => timestamp(name, { withTimezone: true }).notNull();

/** The ledger's tables of one cell, for lists. The migrations are the truth; a test compares the two. */
export function ledgerTables(cell: CellName) {
  const schema = pgSchema(cell);
  const account = schema.table(
    'account',
    {
      accountId: int8('account_id'),
      environment: text('environment').notNull(),
      frozen: boolean('frozen').notNull().default(false),
      posted: int8('posted'),
      held: int8('held'),
      unburned: int8('unburned'),
      creditLine: int8('credit_line'),
      seq: int8('seq'),
      nextDue: instant('next_due'),
      createdAt: instant('created_at'),
      alertBelow: bigint('alert_below', { mode: 'bigint' }),
    },
    table => [
      primaryKey({ name: 'account_pkey', columns: [table.accountId] }),
      unique('account_environment_key').on(table.accountId, table.environment),
      index('account_next_due_idx').on(table.nextDue),
    ],
  );
  const transfer = schema.table(
    'transfer',
    {
      accountId: int8('account_id'),
      id: uuid('id').notNull(),
      seq: int8('seq'),
      amount: int8('amount'),
      balanceAfter: int8('balance_after'),
      holdAmount: int8('hold_amount'),
      createdAt: instant('created_at'),
      holdLifetimeMs: integer('hold_lifetime_ms').notNull(),
      code: smallint('code').notNull(),
      contra: smallint('contra').notNull(),
    },
    table => [
      primaryKey({ name: 'transfer_pkey', columns: [table.id, table.accountId] }),
      index('transfer_seq_idx').on(sql`(-${table.accountId})`, table.seq),
    ],
  );
  const hold = schema.table(
    'hold',
    {
      accountId: int8('account_id'),
      id: uuid('id').notNull(),
      amount: int8('amount'),
      expiresAt: instant('expires_at'),
      lifetimeMs: integer('lifetime_ms').notNull(),
    },
    table => [primaryKey({ name: 'hold_pkey', columns: [table.accountId, table.id] })],
  );
  const creditGrant = schema.table(
    'credit_grant',
    {
      accountId: int8('account_id'),
      id: uuid('id').notNull(),
      source: text('source').notNull(),
      contra: smallint('contra').notNull(),
      amount: int8('amount'),
      remaining: int8('remaining'),
      forfeited: int8('forfeited').default(0n),
      voidedAmount: int8('voided_amount').default(0n),
      priority: smallint('priority').notNull(),
      createdAt: instant('created_at'),
      expiresAt: instant('expires_at'),
      endsAt: instant('ends_at'),
      voided: boolean('voided').notNull().default(false),
    },
    table => [primaryKey({ name: 'credit_grant_pkey', columns: [table.accountId, table.id] })],
  );
  const operatorAction = schema.table(
    'operator_action',
    {
      accountId: int8('account_id'),
      id: uuid('id').notNull(),
      action: text('action').notNull(),
      originalId: uuid('original_id'),
      contra: smallint('contra'),
      amount: int8('amount'),
      uncollected: int8('uncollected').default(0n),
      reason: text('reason').notNull(),
      actor: text('actor').notNull(),
      createdAt: instant('created_at'),
    },
    table => [primaryKey({ name: 'operator_action_pkey', columns: [table.accountId, table.id] })],
  );
  const transferWindow = schema.table(
    'transfer_window',
    {
      singleton: boolean('singleton').notNull().default(true),
      idFrom: uuid('id_from').notNull(),
      idUntil: uuid('id_until').notNull(),
    },
    table => [primaryKey({ name: 'transfer_window_pkey', columns: [table.singleton] })],
  );
  const checkpoint = schema.table(
    'checkpoint',
    {
      accountId: int8('account_id'),
      month: date('month').notNull(),
      contra: smallint('contra').notNull(),
      transfers: int8('transfers'),
      amount: numeric('amount').notNull(),
      seqs: int8multirange('seqs').notNull(),
      createdAt: instant('created_at'),
    },
    table => [primaryKey({ name: 'checkpoint_pkey', columns: [table.accountId, table.month, table.contra] })],
  );
  return {
    account,
    transfer,
    hold,
    creditGrant,
    operatorAction,
    transferWindow,
    checkpoint,
    ...sealTables(schema),
  };
}

function sealTables(schema: ReturnType<typeof pgSchema>) {
  const seal = schema.table(
    'seal',
    {
      block: int8('block'),
      previous: bytea('previous').notNull(),
      hash: bytea('hash').notNull(),
      accounts: int8('accounts'),
      transfers: int8('transfers'),
      checkpointMonth: date('checkpoint_month'),
      sealedAt: instant('sealed_at'),
    },
    table => [primaryKey({ name: 'seal_pkey', columns: [table.block] })],
  );
  const sealEntry = schema.table(
    'seal_entry',
    {
      accountId: int8('account_id'),
      block: int8('block'),
      month: date('month').notNull(),
      fromSeq: int8('from_seq'),
      toSeq: int8('to_seq'),
      transfers: int8('transfers'),
      hash: bytea('hash').notNull(),
    },
    table => [primaryKey({ name: 'seal_entry_pkey', columns: [table.accountId, table.block, table.month] })],
  );
  const sealPosition = schema.table(
    'seal_position',
    { accountId: int8('account_id'), seq: int8('seq') },
    table => [primaryKey({ name: 'seal_position_pkey', columns: [table.accountId] })],
  );
  const contraTotal = schema.table(
    'contra_total',
    {
      environment: text('environment').notNull(),
      contra: smallint('contra').notNull(),
      day: date('day').notNull(),
      amount: numeric('amount').notNull(),
      transfers: int8('transfers'),
    },
    table => [
      primaryKey({ name: 'contra_total_pkey', columns: [table.environment, table.contra, table.day] }),
    ],
  );
  return { seal, sealEntry, sealPosition, contraTotal };
}
