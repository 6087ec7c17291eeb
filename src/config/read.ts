import { readFileSync } from 'node:fs';
import { SETTINGS, type SettingName } from './settings.ts';

/** Lists every problem at once, each naming the setting to change. */
export class ConfigError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(`configuration refused:\n${problems.map(p => `  - ${p}`).join('\n')}`);
    this.name = 'ConfigError';
  }
}

/** The text of every setting, before it is understood. */
export type Values = Record<SettingName, string>;

/**
 * Reads one setting as `loadConfig` does, for a command that needs no other.
 * @throws ConfigError when it is missing or a file cannot be read.
 */
export function requireSetting(name: SettingName, env: NodeJS.ProcessEnv): string {
  const problems: string[] = [];
  const value = readValues(env, problems)[name];
  if (problems.length === 0 && !value) problems.push(`${name} is required`);
  if (problems.length > 0) throw new ConfigError(problems);
  return value;
}

/** Reads every setting from the environment, over the file named by `CONFIG`, over its fallback. */
export function readValues(env: NodeJS.ProcessEnv, problems: string[]): Values {
  const file = env['CONFIG'] ? readConfigFile(env['CONFIG'], problems) : {};
  const names = Object.keys(SETTINGS) as SettingName[];
  const entries = names.map(name => {
    const secretFile = env[`${name}_FILE`];
    const fromSecret =
      'secret' in SETTINGS[name] && secretFile ? readText(name, secretFile, problems) : undefined;
    return [name, (env[name] || fromSecret || file[name]) ?? SETTINGS[name].fallback];
  });
  return Object.fromEntries(entries) as Values;
}

function readText(name: string, file: string, problems: string[]): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    problems.push(`${name}_FILE names a file that cannot be read`);
    return undefined;
  }
}

function readConfigFile(file: string, problems: string[]): Record<string, string> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    problems.push('CONFIG names a file that is not readable JSON');
    return {};
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    problems.push('CONFIG must hold one JSON object');
    return {};
  }
  const entries = Object.entries(parsed);
  for (const [key, value] of entries) {
    if (!Object.hasOwn(SETTINGS, key)) problems.push(`CONFIG has the unknown setting ${key}`);
    else if (!['string', 'number', 'boolean'].includes(typeof value))
      problems.push(`CONFIG: ${key} must be a plain value`);
  }
  return Object.fromEntries(entries.map(([key, value]) => [key, String(value)]));
}
