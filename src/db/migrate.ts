import path from 'node:path';
import { runner } from 'node-pg-migrate';
import { Client } from 'pg';
import {
  compareMigrations,
  DIRECTORY_SCHEMA,
  describeConflicts,
  MIGRATIONS_ROOT,
  type MigrationState,
  recordChecksums,
  targetsOf,
} from './migration-files.ts';
import type { CellName } from './queryable.ts';

/** Any constant will do; it only has to differ from other programs' locks in the same database. */
const MIGRATION_LOCK_KEY = 4020_8453n;

export interface MigrateOptions {
  databaseUrl: string;
  cells: readonly CellName[];
  /** Folder with the subfolders `directory` and `cell`; the project's own when absent. */
  root?: string;
  log?: (message: string) => void;
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
 * @throws when a migration that ran has another text now, or one was added before it: nothing is run then.
 */
export function migrate(options: MigrateOptions): Promise<string[]> {
  const { root = MIGRATIONS_ROOT, cells } = options;
  const log = (message: string) => options.log?.(message);
  return withClient(options.databaseUrl, async client => {
    await client.query("SET lock_timeout = '60s'");
    await client.query({ text: 'SELECT pg_advisory_lock($1)', values: [MIGRATION_LOCK_KEY] });
    await client.query('SET lock_timeout = 0');
    const conflicts = describeConflicts(await compareMigrations(client, cells, root));
    if (conflicts.length > 0) throw new Error(conflicts.join('\n'));
    const ran: string[] = [];
    for (const target of targetsOf(cells)) {
      const { folder, schema } = target;
      await recordChecksums(client, target, root);
      const done = await runner({
        dbClient: client,
        dir: path.join(root, folder),
        schema,
        migrationsSchema: schema,
        migrationsTable: 'migration',
        direction: 'up',
        noLock: true,
        checkOrder: true,
        logger: { debug: noop, info: log, warn: log, error: log },
      });
      ran.push(...done.map(migration => `${schema}/${migration.name}`));
    }
    await registerCells(client, cells);
    return ran;
  });
}

/**
 * Writes the cells down in the directory. One that is added later takes customers once a process looks after it; in
 * a new database there is nobody to wait for.
 */
async function registerCells(client: Client, cells: readonly CellName[]): Promise<void> {
  if (!(await hasCellTable(client))) return;
  await client.query(
    `INSERT INTO ${DIRECTORY_SCHEMA}.cell (cell, share)
     SELECT unnest($1::text[]), CASE WHEN EXISTS (SELECT FROM ${DIRECTORY_SCHEMA}.cell) THEN NULL ELSE 1 END
     ON CONFLICT DO NOTHING`,
    [cells],
  );
}

/** False for a database that is not migrated yet. */
async function hasCellTable(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ exists: boolean }>(
    `SELECT to_regclass('${DIRECTORY_SCHEMA}.cell') IS NOT NULL AS exists`,
  );
  return rows[0]?.exists ?? false;
}

/** Cells that the database has and the caller does not know of. */
export function findForgottenCells({ databaseUrl, cells }: MigrateOptions): Promise<string[]> {
  return withClient(databaseUrl, async client => {
    if (!(await hasCellTable(client))) return [];
    const { rows } = await client.query<{ cell: string }>(
      `SELECT cell FROM ${DIRECTORY_SCHEMA}.cell WHERE cell <> ALL ($1::text[]) ORDER BY cell`,
      [cells],
    );
    return rows.map(({ cell }) => cell);
  });
}

/** Compares the database with the files and changes nothing. */
export function readMigrationState(options: MigrateOptions): Promise<MigrationState> {
  return withClient(options.databaseUrl, client => compareMigrations(client, options.cells, options.root));
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
