import { requireSetting } from '../config/read.ts';
import { findMissingMigrations, migrate } from '../db/migrate.ts';
import { DEFAULT_CELL } from '../db/queryable.ts';

/** `topup-gateway migrate [--check]`: exit 1 with `--check` when something is missing. */
export async function migrateCommand(args: string[]): Promise<void> {
  const databaseUrl = requireSetting('DATABASE_URL', process.env);
  const checkOnly = args.includes('--check');
  const options = { databaseUrl, cells: [DEFAULT_CELL] };
  const names = await (checkOnly ? findMissingMigrations(options) : migrate(options));
  const verb = checkOnly ? 'missing' : 'ran';
  process.stdout.write(names.length === 0 ? 'up to date\n' : names.map(name => `${verb} ${name}\n`).join(''));
  if (checkOnly && names.length > 0) process.exitCode = 1;
}
