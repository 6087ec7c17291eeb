import { type DatabaseSettings, requireDatabase } from '../config/database.ts';
import { ConfigError } from '../config/read.ts';
import { findForgottenCells, migrate, readMigrationState } from '../db/migrate.ts';
import { describeConflicts, describeMissing } from '../db/migration-files.ts';

/** `topup-gateway migrate [--check]`: exit 1 with `--check` when something is missing or does not fit. */
export async function migrateCommand(args: string[]): Promise<void> {
  const database = requireDatabase(process.env);
  const state = await readMigrationState(database);
  const conflicts = describeConflicts(state);
  const forgotten = await describeForgotten(database);
  const lines: string[] = [];
  if (args.includes('--check')) {
    lines.push(...conflicts, ...forgotten, ...state.missing.map(name => `missing ${name}`));
    if (lines.length > 0) process.exitCode = 1;
  } else {
    const problems = [...conflicts.map(ofDatabase), ...forgotten];
    if (problems.length > 0) throw new ConfigError(problems);
    lines.push(...(await migrate(database)).map(name => `ran ${name}`));
  }
  process.stdout.write(lines.length === 0 ? 'up to date\n' : lines.map(line => `${line}\n`).join(''));
}

/**
 * Refuses a database that this process must not use: it was migrated by other files, or not yet by these, or it has
 * cells that the settings do not name.
 */
export async function requireMigrated(database: DatabaseSettings): Promise<void> {
  const state = await readMigrationState(database);
  const problems = [...describeConflicts(state), ...describeMissing(state)].map(ofDatabase);
  problems.push(...(await describeForgotten(database)));
  if (problems.length > 0) throw new ConfigError(problems);
}

/** Holds of a cell that nobody looks after would not end, and its payments not be found. */
export async function describeForgotten(database: DatabaseSettings): Promise<string[]> {
  const cells = await findForgottenCells(database);
  return cells.map(cell => `CELLS: ${cell} belongs to this database and is not named`);
}

function ofDatabase(problem: string): string {
  return `DATABASE_URL: ${problem}`;
}
