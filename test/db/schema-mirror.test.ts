import { is } from 'drizzle-orm';
import { getTableConfig, PgTable } from 'drizzle-orm/pg-core';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as customers from '../../src/customers/tables.ts';
import { DEFAULT_CELL } from '../../src/db/queryable.ts';
import { ledgerTables } from '../../src/ledger/tables.ts';
import * as payments from '../../src/payments/tables.ts';
import { subscriptionTables } from '../../src/subscriptions/tables.ts';
import { topupTables } from '../../src/vouchers/tables.ts';
import * as webhooks from '../../src/webhooks/tables.ts';
import { createTestDatabase } from '../support/database.ts';

/** Every table as `schema.table`, with its columns and the columns of its keys, in one comparable form. */
type Shape = Record<string, { columns: Record<string, string>; keys: Record<string, string> }>;

const mirrors = [
  ...Object.values(customers),
  ...Object.values(customers.customerCellTables(DEFAULT_CELL)),
  ...Object.values(payments),
  ...Object.values(payments.paymentTables(DEFAULT_CELL)),
  ...Object.values(topupTables(DEFAULT_CELL)),
  ...Object.values(webhooks),
  ...Object.values(webhooks.webhookTables(DEFAULT_CELL)),
  ...Object.values(ledgerTables(DEFAULT_CELL)),
  ...Object.values(subscriptionTables(DEFAULT_CELL)),
].filter(value => is(value, PgTable));

function mirrored(): Shape {
  return Object.fromEntries(
    mirrors.map(table => {
      const config = getTableConfig(table);
      const columns = config.columns.map(column => {
        const type = column
          .getSQLType()
          .replace(/^numeric\((\d+)\)$/, 'numeric($1,0)')
          .replace(', ', ',');
        const nullable = column.notNull ? ' not null' : '';
        return [column.name, `${type}${nullable}`];
      });
      const names = (list: readonly { name: string }[]) => list.map(column => column.name).join(',');
      const keys = [
        ...config.primaryKeys.map(key => [key.getName(), `primary ${names(key.columns)}`]),
        ...config.uniqueConstraints.map(key => [key.name, `unique ${names(key.columns)}`]),
      ];
      return [
        `${config.schema}.${config.name}`,
        { columns: Object.fromEntries(columns), keys: Object.fromEntries(keys) },
      ];
    }),
  );
}

async function actual(client: Client): Promise<Shape> {
  const tables = `SELECT c.oid, n.nspname || '.' || c.relname AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('directory', '${DEFAULT_CELL}') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.relname NOT IN ('migration', 'migration_checksum')`;
  const columns = await client.query<{ table: string; column: string; type: string }>(
    `SELECT t.name AS table, a.attname AS column,
       format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END AS type
     FROM (${tables}) t JOIN pg_attribute a ON a.attrelid = t.oid WHERE a.attnum > 0 AND NOT a.attisdropped`,
  );
  const keys = await client.query<{ table: string; key: string; definition: string }>(
    `SELECT t.name AS table, k.conname AS key,
       CASE k.contype WHEN 'p' THEN 'primary ' ELSE 'unique ' END || (
         SELECT string_agg(a.attname, ',' ORDER BY u.position) FROM unnest(k.conkey) WITH ORDINALITY u(number, position)
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = u.number) AS definition
     FROM (${tables}) t JOIN pg_constraint k ON k.conrelid = t.oid WHERE k.contype IN ('p', 'u')`,
  );
  const shape: Shape = {};
  for (const { table, column, type } of columns.rows) {
    shape[table] ??= { columns: {}, keys: {} };
    shape[table].columns[column] = type;
  }
  for (const { table, key, definition } of keys.rows) if (shape[table]) shape[table].keys[key] = definition;
  return shape;
}

describe('the Drizzle tables', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    client = new Client({ connectionString: database.databaseUrl });
    await client.connect();
  });

  afterAll(async () => {
    await client.end();
    await database.drop();
  });

  it('mirror the migrated schema: tables, columns, types, keys', async () => {
    expect(mirrored()).toEqual(await actual(client));
  });
});
