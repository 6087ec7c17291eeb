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
  /** Report what is missing instead of running it. */
  checkOnly?: boolean;
  log?: (message: string) => void;
}

/**
 * Brings the directory schema and every cell to the newest migration. Files are plain SQL with
 * unqualified names; the schema is set by the runner, so one file serves every cell. A session
 * advisory lock makes replicas that start together wait for each other; `lock_timeout` bounds the wait.
 * @returns names of the migrations that ran, or that are missing with `checkOnly`.
 */
export async function migrate(options: MigrateOptions): Promise<string[]> {
  const client = new Client({ connectionString: options.databaseUrl, application_name: 'migrate' });
  await client.connect();
  try {
    if (!options.checkOnly) {
      await client.query("SET lock_timeout = '60s'");
      await client.query({ text: 'SELECT pg_advisory_lock($1)', values: [MIGRATION_LOCK_KEY] });
      await client.query('SET lock_timeout = 0');
    }
    const ran: string[] = [];
    const targets = [
      { folder: 'directory', schema: DIRECTORY_SCHEMA },
      ...options.cells.map(cell => ({ folder: 'cell', schema: cell as string })),
    ];
    for (const { folder, schema } of targets) {
      const done = await runner({
        dbClient: client,
        dir: path.join(MIGRATIONS_ROOT, folder),
        schema,
        createSchema: !options.checkOnly,
        migrationsSchema: schema,
        createMigrationsSchema: !options.checkOnly,
        migrationsTable: 'migration',
        direction: 'up',
        dryRun: options.checkOnly ?? false,
        noLock: true,
        checkOrder: true,
        log: message => options.log?.(message),
        logger: { debug: noop, info: noop, warn: m => options.log?.(m), error: m => options.log?.(m) },
      });
      ran.push(...done.map(migration => `${schema}/${migration.name}`));
    }
    return ran;
  } finally {
    await client.end();
  }
}

/** Drops everything and migrates anew: what the sandbox calls an empty database. */
export async function emptyDatabase(options: {
  databaseUrl: string;
  cells: readonly CellName[];
}): Promise<void> {
  const client = new Client({ connectionString: options.databaseUrl, application_name: 'reset' });
  await client.connect();
  try {
    for (const schema of [DIRECTORY_SCHEMA, ...options.cells]) {
      await client.query(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
    }
  } finally {
    await client.end();
  }
  await migrate(options);
}

function noop(): void {}
