import type { CellName } from '../lib/cell-name.ts';
import { ConfigError, requireSetting } from './read.ts';
import { parseCells } from './values.ts';

/** What a command needs that works on the database alone. */
export interface DatabaseSettings {
  databaseUrl: string;
  cells: readonly [CellName, ...CellName[]];
}

/**
 * Reads them as `loadConfig` does.
 * @throws ConfigError when one is missing or cannot be.
 */
export function requireDatabase(env: NodeJS.ProcessEnv): DatabaseSettings {
  const databaseUrl = requireSetting('DATABASE_URL', env);
  const problems: string[] = [];
  const cells = parseCells(requireSetting('CELLS', env), problems);
  if (problems.length > 0) throw new ConfigError(problems);
  return { databaseUrl, cells };
}
