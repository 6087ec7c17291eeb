import type { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBalance, readBalanceAt } from '../../src/ledger/balances.ts';
import { applyOperations } from '../../src/ledger/spending.ts';
import { listTransfers } from '../../src/ledger/statements.ts';
import { newId } from '../../src/lib/ids.ts';
import { type PlanWatch, watchPlans } from './plans.ts';
import { CELLS, createLedgerDatabase, type LedgerDatabase, openMany } from './support.ts';

const ACCOUNTS = 2_000;

const LEDGER_TABLES = [
  'account',
  'transfer',
  'hold',
  'credit_grant',
  'operator_action',
  'checkpoint',
  'transfer_window',
  'seal',
  'seal_entry',
  'seal_position',
  'contra_total',
];

let database: LedgerDatabase;
let client: Client;
let watch: PlanWatch;

beforeAll(async () => {
  database = await createLedgerDatabase();
  watch = await watchPlans(database.databaseUrl);
  client = watch.client;
});

afterAll(async () => {
  await watch.close();
  await database.close();
});

const accessesWithoutAccount: PlanWatch['accessesWithoutAccount'] = work =>
  watch.accessesWithoutAccount(work);

describe.each(CELLS)('%s', cell => {
  const ids = { held: newId(), debit: newId() };

  // Seven executions each: PostgreSQL changes to a generic plan after the fifth.
  async function spendSingly() {
    for (let i = 1n; i <= 7n; i += 1n) {
      const target = { accountId: i, id: newId() };
      await applyOperations(client, cell, [{ kind: 'debit', ...target, amountNanoUsd: 1n }]);
      const hold = { ...target, id: newId() };
      await applyOperations(client, cell, [{ kind: 'hold', ...hold, amountNanoUsd: 5n, lifetimeMs: 60_000 }]);
      await applyOperations(client, cell, [{ kind: 'renew', ...hold, lifetimeMs: 60_000 }]);
      await applyOperations(client, cell, [
        { kind: 'capture', ...hold, amountNanoUsd: 9_999n, overage: 'write_off' },
      ]);
    }
  }

  async function spendInBatches() {
    for (let round = 0; round < 7; round += 1) {
      const targets = Array.from({ length: 40 }, (_, i) => ({ accountId: BigInt(i + 100), id: newId() }));
      await applyOperations(client, cell, [
        ...targets.map(t => ({ kind: 'hold', ...t, amountNanoUsd: 5n, lifetimeMs: 60_000 }) as const),
        ...targets.map(t => ({ kind: 'debit', ...t, id: newId(), amountNanoUsd: 5n }) as const),
      ]);
      await applyOperations(
        client,
        cell,
        targets.map(t => ({ kind: 'renew', ...t, lifetimeMs: 60_000 }) as const),
      );
      await applyOperations(
        client,
        cell,
        targets.map(t => ({ kind: 'capture', ...t, amountNanoUsd: 3n }) as const),
      );
    }
  }

  it('reaches rows by their account even when it was planned on empty tables', async () => {
    const operation = { accountId: 1n, amountNanoUsd: 1n } as const;
    const twice = async () => {
      for (let i = 0; i < 7; i += 1) {
        await applyOperations(client, cell, [{ kind: 'debit', ...operation, id: ids.debit }]);
        await applyOperations(client, cell, [
          { kind: 'debit', ...operation, id: ids.debit },
          { kind: 'hold', ...operation, id: ids.held, lifetimeMs: 1_000 },
        ]);
      }
    };
    expect(await accessesWithoutAccount(twice)).toEqual([]);
  });

  it('reaches rows by their account in every hot statement', async () => {
    await openMany(database.pool, cell, ACCOUNTS, 1_000n);
    expect(await accessesWithoutAccount(spendSingly)).toEqual([]);
    expect(await accessesWithoutAccount(spendInBatches)).toEqual([]);
    const reads = async () => {
      await readBalance(client, cell, 5n);
      await readBalanceAt(client, cell, 5n, new Date());
      await listTransfers(client, cell, 5n, { limit: 10 });
    };
    expect(await accessesWithoutAccount(reads)).toEqual([]);
    // What autovacuum may find in a quiet second, no open holds, must not spoil the plans of the next rush.
    await database.pool.query(`ANALYZE "${cell}".account, "${cell}".transfer, "${cell}".hold`);
    expect(await accessesWithoutAccount(spendSingly)).toEqual([]);
    expect(await accessesWithoutAccount(spendInBatches)).toEqual([]);
  });

  it('has the account in every primary key and unique index', async () => {
    const { rows } = await database.pool.query<{ name: string }>(
      `SELECT c.relname || ' on ' || t.relname AS name
       FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
       WHERE t.relnamespace = $1::regnamespace AND i.indisunique AND NOT t.relispartition
         AND NOT EXISTS (SELECT FROM pg_attribute a
           WHERE a.attrelid = t.oid AND a.attnum = ANY (i.indkey) AND a.attname = 'account_id')
         AND t.relname = ANY ($2)
       ORDER BY 1`,
      [cell, LEDGER_TABLES],
    );
    // Not about accounts: one row per cell, per block and per day.
    expect(rows.map(row => row.name)).toEqual([
      'contra_total_pkey on contra_total',
      'seal_pkey on seal',
      'transfer_window_pkey on transfer_window',
    ]);
  });

  it('has no foreign key that leaves the cell, no sequence, and no default partition', async () => {
    const { rows } = await database.pool.query<{ problem: string }>(
      `SELECT conname AS problem FROM pg_constraint k JOIN pg_class f ON f.oid = k.confrelid
       WHERE k.connamespace = $1::regnamespace AND k.contype = 'f' AND f.relnamespace <> $1::regnamespace
       UNION ALL
       SELECT p.partrelid::regclass::text FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid
       WHERE c.relnamespace = $1::regnamespace AND p.partdefid <> 0
       UNION ALL
       SELECT relname FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'S'
         AND c.relname NOT LIKE 'migration%'`,
      [cell],
    );
    expect(rows).toEqual([]);
  });

  it('works whatever the caller has as search_path', async () => {
    await client.query('SET search_path TO pg_catalog');
    const [result] = await applyOperations(client, cell, [
      { kind: 'debit', accountId: 900n, id: newId(), amountNanoUsd: 1n },
    ]);
    await client.query('RESET search_path');
    expect(result?.status).toBe('applied');
  });
});
