import { ConfigError, requireSetting } from '../config/read.ts';
import { migrate, readMigrationState } from '../db/migrate.ts';
import { describeConflicts, describeMissing } from '../db/migration-files.ts';
import { DEFAULT_CELL } from '../db/queryable.ts';

const CELLS = [DEFAULT_CELL];

/** `topup-gateway migrate [--check]`: exit 1 with `--check` when something is missing or does not fit. */
export async function migrateCommand(args: string[]): Promise<void> {
  const databaseUrl = requireSetting('DATABASE_URL', process.env);
  const options = { databaseUrl, cells: CELLS };
  const state = await readMigrationState(options);
  const conflicts = describeConflicts(state);
  const lines: string[] = [];
  if (args.includes('--check')) {
    lines.push(...conflicts, ...state.missing.map(name => `missing ${name}`));
    if (lines.length > 0) process.exitCode = 1;
  } else {
    if (conflicts.length > 0) throw refusedDatabase(conflicts);
    lines.push(...(await migrate(options)).map(name => `ran ${name}`));
  }
  process.stdout.write(lines.length === 0 ? 'up to date\n' : lines.map(line => `${line}\n`).join(''));
}

/** Refuses a database that this release must not use: it was migrated by other files, or not yet by these. */
export async function requireMigrated(databaseUrl: string): Promise<void> {
  const state = await readMigrationState({ databaseUrl, cells: CELLS });
  const problems = [...describeConflicts(state), ...describeMissing(state)];
  if (problems.length > 0) throw refusedDatabase(problems);
}

function refusedDatabase(problems: readonly string[]): ConfigError {
  return new ConfigError(problems.map(problem => `DATABASE_URL: ${problem}`));
}
