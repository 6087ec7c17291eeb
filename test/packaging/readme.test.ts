import path from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { SETTINGS } from '../../src/config/settings.ts';
import { projectHas, readManifest, readProjectFile } from './project.ts';

const readme = readProjectFile('README.md');

/** Rows of the table under a heading, each as its cells. */
function tableUnder(heading: string): string[][] {
  const section = readme.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
  const lines = section.split('\n');
  const first = lines.findIndex(line => line.startsWith('|'));
  const rows: string[][] = [];
  for (const line of lines.slice(first)) {
    if (!line.startsWith('|')) break;
    rows.push(
      line
        .split('|')
        .slice(1, -1)
        .map(cell => cell.trim()),
    );
  }
  return rows.slice(2);
}

it('lists the settings as the program reads them', () => {
  const expected = Object.entries(SETTINGS).map(([name, setting]) => [
    `\`${name}\``,
    setting.fallback && `\`${setting.fallback}\``,
    'secret' in setting ? `${setting.about}; *secret*` : setting.about,
  ]);
  expect(tableUnder('Settings')).toEqual(expected);
});

it('names every route of the OpenAPI document', () => {
  const { paths } = parse(readProjectFile('openapi.yaml')) as { paths: Record<string, object> };
  const documented = Object.entries(paths).flatMap(([route, methods]) =>
    Object.keys(methods).map(method => `${method.toUpperCase()} ${route}`),
  );
  const cells = tableUnder('Routes').map(([route]) => route);
  expect(documented.filter(route => !cells.includes(`\`${route}\``))).toEqual([]);
});

it('names scripts that exist', () => {
  const scripts = readManifest().scripts ?? {};
  const named = [...readme.matchAll(/npm run (?:-s )?([\w:]+)/g)].map(([, name = '']) => name);
  expect(named.length).toBeGreaterThan(4);
  expect(named.filter(name => !(name in scripts))).toEqual([]);
});

it.each(['README.md', 'docs/deployment.md'])('%s links to files that exist', file => {
  const targets = [...readProjectFile(file).matchAll(/\]\(([^)#]+)[^)]*\)/g)].map(
    ([, target = '']) => target,
  );
  const local = targets.filter(target => !/^https?:/.test(target));
  expect(local.length).toBeGreaterThan(0);
  expect(local.filter(target => !projectHas(path.join(path.dirname(file), target)))).toEqual([]);
});
