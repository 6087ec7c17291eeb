import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ClientBase } from 'pg';
import type { CellName } from './queryable.ts';

/** Schema of the tables that name who owns what and where: customers, identities, payment claims. */
export const DIRECTORY_SCHEMA = 'directory';

export const MIGRATIONS_ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../migrations');

/** One schema and the folder of migrations that it is built from. */
export interface MigrationTarget {
  schema: string;
  folder: string;
}

export function targetsOf(cells: readonly CellName[]): MigrationTarget[] {
  return [
    { folder: 'directory', schema: DIRECTORY_SCHEMA },
    ...cells.map(cell => ({ folder: 'cell', schema: cell as string })),
  ];
}

/**
 * How a database and the files compare. Every entry names one migration of one schema as `schema/name`.
 * Only `missing` is cured by running migrations.
 */
export interface MigrationState {
  /** Has not run yet. */
  missing: string[];
  /** Ran with another text than the file has now, or before texts were recorded. */
  changed: string[];
  /** Has not run, although one with a higher number has. */
  late: string[];
  /** Ran, and there is no such file: the database is newer than this program, or from another branch. */
  gone: string[];
}

interface MigrationFile {
  name: string;
  sha256: string;
}

async function readFiles(root: string, folder: string): Promise<MigrationFile[]> {
  const files = (await readdir(path.join(root, folder))).filter(file => file.endsWith('.sql')).sort();
  return Promise.all(
    files.map(async file => {
      const text = await readFile(path.join(root, folder, file), 'utf8');
      // A checkout may have the line ends of its system; that is not another text.
      const sha256 = createHash('sha256').update(text.replaceAll('\r\n', '\n')).digest('hex');
      return { name: file.replace(/\.sql$/, ''), sha256 };
    }),
  );
}

/** Names that ran, with the checksum of the text that ran; null where none was recorded. */
async function readApplied(client: ClientBase, schema: string): Promise<Map<string, string | null>> {
  const { rows } = await client.query<{ ran: boolean; recorded: boolean }>(
    'SELECT to_regclass($1) IS NOT NULL AS ran, to_regclass($2) IS NOT NULL AS recorded',
    [`"${schema}".migration`, `"${schema}".migration_checksum`],
  );
  if (!rows[0]?.ran) return new Map();
  const applied = await client.query<{ name: string; sha256: string | null }>(
    rows[0].recorded
      ? `SELECT name, sha256 FROM "${schema}".migration LEFT JOIN "${schema}".migration_checksum USING (name)`
      : `SELECT name, NULL AS sha256 FROM "${schema}".migration`,
  );
  return new Map(applied.rows.map(row => [row.name, row.sha256]));
}

/** Compares what ran in each schema with the files, and changes nothing. */
export async function compareMigrations(
  client: ClientBase,
  cells: readonly CellName[],
  root = MIGRATIONS_ROOT,
): Promise<MigrationState> {
  const state: MigrationState = { missing: [], changed: [], late: [], gone: [] };
  for (const { folder, schema } of targetsOf(cells)) {
    const files = await readFiles(root, folder);
    const applied = await readApplied(client, schema);
    const newest = [...applied.keys()].sort().at(-1) ?? '';
    for (const { name, sha256 } of files) {
      if (!applied.has(name)) state[name < newest ? 'late' : 'missing'].push(`${schema}/${name}`);
      else if (applied.get(name) !== sha256) state.changed.push(`${schema}/${name}`);
    }
    const names = new Set(files.map(file => file.name));
    state.gone.push(...[...applied.keys()].filter(name => !names.has(name)).map(name => `${schema}/${name}`));
  }
  return state;
}

/**
 * Records the checksums of the migrations that are about to run. It is done before and not after, so that a
 * crash in between cannot leave one that ran with a text nobody knows; a text that did not run is replaced.
 */
export async function recordChecksums(
  client: ClientBase,
  { folder, schema }: MigrationTarget,
  root: string,
): Promise<void> {
  await client.query(`CREATE SCHEMA IF NOT EXISTS "${schema}"`);
  await client.query(
    `CREATE TABLE IF NOT EXISTS "${schema}".migration_checksum (name text PRIMARY KEY, sha256 text NOT NULL)`,
  );
  const applied = await readApplied(client, schema);
  const files = (await readFiles(root, folder)).filter(file => !applied.has(file.name));
  await client.query(
    `INSERT INTO "${schema}".migration_checksum (name, sha256) SELECT * FROM unnest($1::text[], $2::text[])
     ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256`,
    [files.map(file => file.name), files.map(file => file.sha256)],
  );
}

/** What no run of migrations can cure, a sentence for each; empty when the database can be used or migrated. */
export function describeConflicts({ changed, late }: MigrationState): string[] {
  return [
    ...changed.map(
      entry =>
        `${fileOf(entry)} is not the text that ran in schema ${schemaOf(entry)}: ` +
        'use the release that ran it, or another database',
    ),
    ...late.map(
      entry =>
        `${fileOf(entry)} has not run in schema ${schemaOf(entry)}, where a later one has: ` +
        'use the release that ran that one, or another database',
    ),
  ];
}

/** A sentence for every migration that has yet to run. */
export function describeMissing({ missing }: MigrationState): string[] {
  return missing.map(
    entry => `${fileOf(entry)} has not run in schema ${schemaOf(entry)}: topup-gateway migrate`,
  );
}

function schemaOf(entry: string): string {
  return entry.slice(0, entry.indexOf('/'));
}

function fileOf(entry: string): string {
  const folder = schemaOf(entry) === DIRECTORY_SCHEMA ? 'directory' : 'cell';
  return `migrations/${folder}/${entry.slice(entry.indexOf('/') + 1)}.sql`;
}
