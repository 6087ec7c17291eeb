import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  index,
  integer,
  jsonb,
  numeric,
  pgSchema,
  primaryKey,
  text,
  timestamp,
  unique,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import type { CellName } from '../db/queryable.ts';

/** Tables of payments for lists and joins. The migrations are the truth; a test compares the two. */

const createdAt = () => timestamp('created_at', { withTimezone: true }).notNull().defaultNow();

const directory = pgSchema('directory');

export const paymentClaim = directory.table(
  'payment_claim',
  {
    identity: text('identity').notNull(),
    paymentId: uuid('payment_id').notNull(),
    /** Null for a payment that is settled for others. */
    accountId: bigint('account_id', { mode: 'bigint' }),
    environment: text('environment').notNull(),
    cell: text('cell').notNull(),
    createdAt: createdAt(),
  },
  table => [
    primaryKey({ name: 'payment_claim_pkey', columns: [table.identity] }),
    unique('payment_claim_payment_key').on(table.paymentId),
    index('payment_claim_account_idx').on(table.accountId),
  ],
);

export const evmSender = directory.table(
  'evm_sender',
  {
    network: text('network').notNull(),
    sender: text('sender').notNull(),
    nextNonce: bigint('next_nonce', { mode: 'bigint' }).notNull(),
  },
  table => [primaryKey({ name: 'evm_sender_pkey', columns: [table.network, table.sender] })],
);

export const evmTransaction = directory.table(
  'evm_transaction',
  {
    network: text('network').notNull(),
    sender: text('sender').notNull(),
    nonce: bigint('nonce', { mode: 'bigint' }).notNull(),
    hash: text('hash').notNull(),
    raw: text('raw').notNull(),
    /** Null for a transaction that only fills a nonce. */
    paymentId: uuid('payment_id'),
    createdAt: createdAt(),
    superseded: boolean('superseded').notNull().default(false),
  },
  table => [
    primaryKey({
      name: 'evm_transaction_pkey',
      columns: [table.network, table.sender, table.nonce, table.hash],
    }),
    uniqueIndex('evm_transaction_live_payment_key').on(table.paymentId).where(sql`NOT ${table.superseded}`),
    uniqueIndex('evm_transaction_live_nonce_key')
      .on(table.network, table.sender, table.nonce)
      .where(sql`NOT ${table.superseded}`),
    index('evm_transaction_payment_idx').on(table.paymentId),
  ],
);

export const receiptCursor = directory.table(
  'receipt_cursor',
  {
    network: text('network').notNull(),
    asset: text('asset').notNull(),
    payTo: text('pay_to').notNull(),
    scannedTo: bigint('scanned_to', { mode: 'bigint' }).notNull(),
    updatedAt: timestamp('updated_at', { withTimezone: true }).notNull().defaultNow(),
    walkTo: bigint('walk_to', { mode: 'bigint' }),
    walkFrom: bigint('walk_from', { mode: 'bigint' }),
    walkNext: text('walk_next'),
  },
  table => [primaryKey({ name: 'receipt_cursor_pkey', columns: [table.network, table.asset, table.payTo] })],
);

export const unappliedReceipt = directory.table(
  'unapplied_receipt',
  {
    network: text('network').notNull(),
    transaction: text('transaction').notNull(),
    logIndex: integer('log_index').notNull(),
    environment: text('environment').notNull(),
    blockNumber: bigint('block_number', { mode: 'bigint' }).notNull(),
    asset: text('asset').notNull(),
    payTo: text('pay_to').notNull(),
    sender: text('sender').notNull(),
    amountBaseUnits: numeric('amount_base_units', { precision: 78, scale: 0, mode: 'bigint' }).notNull(),
    /** Null for money that no payment of ours explains. */
    paymentId: uuid('payment_id'),
    foundAt: timestamp('found_at', { withTimezone: true }).notNull().defaultNow(),
    closedAt: timestamp('closed_at', { withTimezone: true }),
    closedReason: text('closed_reason'),
  },
  table => [
    primaryKey({
      name: 'unapplied_receipt_pkey',
      columns: [table.network, table.transaction, table.logIndex],
    }),
    index('unapplied_receipt_open_idx').on(table.network, table.foundAt),
  ],
);

export const facilitator = directory.table(
  'facilitator',
  {
    name: text('name').notNull(),
    supported: jsonb('supported'),
    supportedAt: timestamp('supported_at', { withTimezone: true }),
    distrustedAt: timestamp('distrusted_at', { withTimezone: true }),
    distrustPaymentId: uuid('distrust_payment_id'),
    distrustReason: text('distrust_reason'),
  },
  table => [primaryKey({ name: 'facilitator_pkey', columns: [table.name] })],
);

export const svmTransaction = directory.table(
  'svm_transaction',
  {
    paymentId: uuid('payment_id').notNull(),
    network: text('network').notNull(),
    feePayer: text('fee_payer').notNull(),
    signature: text('signature').notNull(),
    wire: text('wire').notNull(),
    finished: boolean('finished').notNull().default(false),
    createdAt: createdAt(),
  },
  table => [
    primaryKey({ name: 'svm_transaction_pkey', columns: [table.paymentId] }),
    unique('svm_transaction_signature_key').on(table.network, table.signature),
    index('svm_transaction_live_idx')
      .on(table.network, table.feePayer, table.createdAt)
      .where(sql`NOT ${table.finished}`),
  ],
);

export const facilitatorSettlement = directory.table(
  'facilitator_settlement',
  {
    paymentId: uuid('payment_id').notNull(),
    identity: text('identity').notNull(),
    environment: text('environment').notNull(),
    caller: text('caller').notNull(),
    network: text('network').notNull(),
    signed: jsonb('signed').notNull(),
    fromBlock: bigint('from_block', { mode: 'bigint' }).notNull(),
    state: text('state').notNull().default('settling'),
    reason: text('reason'),
    transaction: text('transaction'),
    createdAt: createdAt(),
    updatedAt: timestamp('updated_at', { withTimezone: true }).notNull().defaultNow(),
    attempts: integer('attempts').notNull().default(0),
    dueAt: timestamp('due_at', { withTimezone: true }).notNull().defaultNow(),
    logIndex: integer('log_index'),
    blockNumber: bigint('block_number', { mode: 'bigint' }),
    blockHash: text('block_hash'),
    finalAt: timestamp('final_at', { withTimezone: true }),
    undoneAt: timestamp('undone_at', { withTimezone: true }),
    closedAt: timestamp('closed_at', { withTimezone: true }),
    closedReason: text('closed_reason'),
  },
  table => [
    primaryKey({ name: 'facilitator_settlement_pkey', columns: [table.paymentId] }),
    unique('facilitator_settlement_identity_key').on(table.identity),
    index('facilitator_settlement_open_idx').on(table.dueAt),
    index('facilitator_settlement_not_final_idx').on(table.dueAt),
    index('facilitator_settlement_undone_idx').on(table.undoneAt),
  ],
);

/** The payment tables of one cell. */
export function paymentTables(cell: CellName) {
  const schema = pgSchema(cell);
  const network = schema.table(
    'network',
    { network: text('network').notNull(), environment: text('environment').notNull() },
    table => [
      primaryKey({ name: 'network_pkey', columns: [table.network] }),
      unique('network_environment_key').on(table.network, table.environment),
    ],
  );
  const payment = schema.table(
    'payment',
    {
      paymentId: uuid('payment_id').notNull(),
      accountId: bigint('account_id', { mode: 'bigint' }).notNull(),
      environment: text('environment').notNull(),
      identity: text('identity').notNull(),
      source: text('source').notNull(),
      facilitator: text('facilitator').notNull(),
      scheme: text('scheme').notNull(),
      network: text('network').notNull(),
      asset: text('asset').notNull(),
      payTo: text('pay_to').notNull(),
      payer: text('payer').notNull(),
      amountBaseUnits: numeric('amount_base_units', { precision: 78, scale: 0, mode: 'bigint' }).notNull(),
      signed: jsonb('signed').notNull(),
      state: text('state').notNull(),
      reason: text('reason'),
      fromBlock: bigint('from_block', { mode: 'bigint' }).notNull(),
      transaction: text('transaction'),
      logIndex: integer('log_index'),
      blockNumber: bigint('block_number', { mode: 'bigint' }),
      creditedNanoUsd: bigint('credited_nano_usd', { mode: 'bigint' }),
      availableNanoUsd: bigint('available_nano_usd', { mode: 'bigint' }),
      attempts: integer('attempts').notNull().default(0),
      dueAt: timestamp('due_at', { withTimezone: true }).notNull(),
      createdAt: createdAt(),
      updatedAt: timestamp('updated_at', { withTimezone: true }).notNull().defaultNow(),
      saidSettled: boolean('said_settled').notNull().default(false),
      saidSettledAt: timestamp('said_settled_at', { withTimezone: true }),
      saidTransaction: text('said_transaction'),
      doubtedAt: timestamp('doubted_at', { withTimezone: true }),
      purpose: jsonb('purpose'),
      purposeResult: jsonb('purpose_result'),
      blockHash: text('block_hash'),
      /** The ledger's transfer that credited it. */
      grantId: uuid('grant_id'),
      finalAt: timestamp('final_at', { withTimezone: true }),
      reversals: integer('reversals').notNull().default(0),
      /** What the last reversal could not take back. */
      writtenOffNanoUsd: bigint('written_off_nano_usd', { mode: 'bigint' }).notNull().default(0n),
    },
    table => [
      primaryKey({ name: 'payment_pkey', columns: [table.paymentId] }),
      unique('payment_identity_key').on(table.identity),
      unique('payment_transfer_key').on(table.network, table.transaction, table.logIndex),
      index('payment_open_idx').on(table.dueAt),
      index('payment_not_final_idx').on(table.dueAt),
      index('payment_account_idx').on(table.accountId, table.createdAt),
      index('payment_pending_idx').on(table.accountId),
      index('payment_doubted_idx').on(table.facilitator),
      index('payment_reverted_idx').on(table.payer, table.network, table.updatedAt),
      index('payment_credited_idx').on(table.network, table.blockNumber),
    ],
  );
  const outbox = schema.table(
    'outbox',
    {
      eventId: uuid('event_id').notNull(),
      accountId: bigint('account_id', { mode: 'bigint' }).notNull(),
      environment: text('environment').notNull(),
      type: text('type').notNull(),
      payload: jsonb('payload').notNull(),
      createdAt: createdAt(),
      transactionId: text('transaction_id'),
      status: text('status').notNull().default('ok'),
      fannedOutAt: timestamp('fanned_out_at', { withTimezone: true }),
    },
    table => [
      primaryKey({ name: 'outbox_pkey', columns: [table.eventId] }),
      unique('outbox_environment_key').on(table.eventId, table.environment),
      index('outbox_waiting_idx').on(table.createdAt),
      index('outbox_created_idx').on(table.createdAt),
    ],
  );
  return { network, payment, outbox };
}
