import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { runner } from 'node-pg-migrate';
import { Client } from 'pg';
import type { CellName } from './queryable.ts';

/** Schema of the tables that name who owns what and where: customers, identities, payment claims. */
export const DIRECTORY_SCHEMA = 'directory';

const MIGRATIONS_ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../migrations');

/** Any constant will do; it only has to differ from other programs' locks in the same database. */
const MIGRATION_LOCK_KEY = 4020_8453n;

export interface MigrateOptions {
  databaseUrl: string;
  cells: readonly CellName[];
  log?: (message: string) => void;
}

/** Which folder of migrations each schema is built from. */
function targetsOf(cells: readonly CellName[]): { folder: string; schema: string }[] {
  return [
    { folder: 'directory', schema: DIRECTORY_SCHEMA },
    ...cells.map(cell => ({ folder: 'cell', schema: cell as string })),
  ];
}

async function withClient<T>(databaseUrl: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({
    connectionString: databaseUrl,
    application_name: 'migrate',
    connectionTimeoutMillis: 5_000,
  });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/**
 * Brings the directory schema and every cell to the newest migration. Files are plain SQL with
 * unqualified names; the schema is set by the runner, so one file serves every cell. A session
 * advisory lock makes replicas that start together wait for each other; `lock_timeout` bounds the wait.
 * @returns names of the migrations that ran.
 */
export function migrate(options: MigrateOptions): Promise<string[]> {
  const log = (message: string) => options.log?.(message);
  return withClient(options.databaseUrl, async client => {
    await client.query("SET lock_timeout = '60s'");
    await client.query({ text: 'SELECT pg_advisory_lock($1)', values: [MIGRATION_LOCK_KEY] });
    await client.query('SET lock_timeout = 0');
    const ran: string[] = [];
    for (const { folder, schema } of targetsOf(options.cells)) {
      const done = await runner({
        dbClient: client,
        dir: path.join(MIGRATIONS_ROOT, folder),
        schema,
        createSchema: true,
        migrationsSchema: schema,
        createMigrationsSchema: true,
        migrationsTable: 'migration',
        direction: 'up',
        noLock: true,
        checkOrder: true,
        logger: { debug: noop, info: log, warn: log, error: log },
      });
      ran.push(...done.map(migration => `${schema}/${migration.name}`));
    }
    return ran;
  });
}

/** Compares the database with the files and changes nothing. @returns names of the missing migrations. */
export function findMissingMigrations(options: MigrateOptions): Promise<string[]> {
  return withClient(options.databaseUrl, async client => {
    const missing: string[] = [];
    for (const { folder, schema } of targetsOf(options.cells)) {
      const files = await readdir(path.join(MIGRATIONS_ROOT, folder));
      const names = files.filter(file => file.endsWith('.sql')).map(file => file.replace(/\.sql$/, ''));
      const table = `"${schema}".migration`;
      const exists = await client.query<{ found: boolean }>('SELECT to_regclass($1) IS NOT NULL AS found', [
        table,
      ]);
      const ran = exists.rows[0]?.found
        ? await client.query<{ name: string }>(`SELECT name FROM ${table}`)
        : { rows: [] };
      const done = new Set(ran.rows.map(row => row.name));
      missing.push(
        ...names
          .filter(name => !done.has(name))
          .sort()
          .map(name => `${schema}/${name}`),
      );
    }
    return missing;
  });
}

/** Drops everything and migrates anew: what the sandbox calls an empty database. */
export async function emptyDatabase(options: MigrateOptions): Promise<void> {
  await withClient(options.databaseUrl, async client => {
    for (const { schema } of targetsOf(options.cells)) {
      await client.query(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
    }
  });
  await migrate(options);
}

function noop(): void {}
