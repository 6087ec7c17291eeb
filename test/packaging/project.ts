import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

export const ROOT = path.resolve(import.meta.dirname, '../..');

export function readProjectFile(file: string): string {
  return readFileSync(path.join(ROOT, file), 'utf8');
}

export function projectHas(file: string): boolean {
  return existsSync(path.join(ROOT, file));
}

/** The parts of package.json that are checked. */
export interface Manifest {
  bin?: Record<string, string>;
  files?: string[];
  scripts?: Record<string, string>;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

export function readManifest(file = 'package.json'): Manifest {
  return JSON.parse(readProjectFile(file)) as Manifest;
}

/** Instructions of a Dockerfile in order, continued lines joined, comments dropped. */
export function readDockerfile(): { keyword: string; value: string }[] {
  const lines = readProjectFile('Dockerfile')
    .split('\n')
    .filter(line => !line.startsWith('#'))
    .join('\n')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter(line => line.trim() !== '');
  return lines.map(line => {
    const [, keyword = '', value = ''] = /^(\w+)\s+(.*)$/.exec(line) ?? [];
    return { keyword, value };
  });
}
