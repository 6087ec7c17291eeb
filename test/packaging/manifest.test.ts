import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { projectHas, ROOT, readManifest, readProjectFile } from './project.ts';

const run = promisify(execFile);

interface LockedPackage {
  version?: string;
  resolved?: string;
  optionalDependencies?: Record<string, string>;
}

/** The published clients have a tree of their own, so that the main one stays small. */
const TREES = ['.', 'test/clients'].filter(folder => projectHas(path.join(folder, 'package.json')));

describe.each(TREES)('the packages of %s', folder => {
  const manifest = readManifest(path.join(folder, 'package.json'));
  const wanted = {
    ...manifest.dependencies,
    ...manifest.devDependencies,
    ...manifest.optionalDependencies,
  };
  // An older version beside a newer one has a name of its own: `npm:package@version`.
  const pins = Object.fromEntries(
    Object.entries(wanted).map(([name, pin]) => [name, pin.replace(/^npm:.+@/, '')]),
  );
  const lock = JSON.parse(readProjectFile(path.join(folder, 'package-lock.json'))) as {
    packages: Record<string, LockedPackage>;
  };

  it('are pinned to one version, the one that is locked', () => {
    const versions = Object.keys(pins).map(name => [name, lock.packages[`node_modules/${name}`]?.version]);
    expect(versions.length).toBeGreaterThan(0);
    const exact = Object.entries(pins).filter(([, pin]) => !/^(file:|\d+\.\d+\.\d+)/.test(pin));
    expect(exact).toEqual([]);
    const fromRegistry = Object.entries(pins).filter(([, pin]) => !pin.startsWith('file:'));
    expect(Object.fromEntries(versions)).toMatchObject(Object.fromEntries(fromRegistry));
  });

  it('are locked without the address of a registry', () => {
    const addresses = Object.entries(lock.packages).filter(([, locked]) =>
      /^https?:/.test(locked.resolved ?? ''),
    );
    expect(addresses.map(([name]) => name)).toEqual([]);
  });

  it('are locked for every platform, without which npm ci refuses the lock file', () => {
    const missing = Object.entries(lock.packages).flatMap(([parent, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies).filter(
        name => !findLocked(lock.packages, parent, `node_modules/${name}`),
      ),
    );
    expect(missing).toEqual([]);
  });
});

/** Looks for a package where Node would: beside its parent, then in every folder above. */
function findLocked(packages: Record<string, LockedPackage>, parent: string, name: string): boolean {
  const folders = parent
    .split('/node_modules/')
    .map((_, i, parts) => parts.slice(0, i + 1).join('/node_modules/'));
  return name in packages || folders.some(folder => `${folder}/${name}` in packages);
}

describe('the package', () => {
  const { bin = {}, files = [] } = readManifest();

  it('holds the command line tool and what it reads', async () => {
    const command = 'dist/cli.js';
    expect(bin).toEqual({ 'topup-gateway': command });
    expect(files).toContain('dist');

    const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: ROOT,
      timeout: 20_000,
    });
    const [packed] = JSON.parse(stdout) as [{ files: { path: string }[] }];
    const paths = packed.files.map(file => file.path);
    const migrations = ['directory', 'cell'].flatMap(folder =>
      readdirSync(path.join(ROOT, 'migrations', folder)).map(file => `migrations/${folder}/${file}`),
    );
    expect(migrations.length).toBeGreaterThan(10);
    expect(paths).toEqual(expect.arrayContaining([...migrations, 'package.json', 'LICENSE', 'README.md']));
    const unexpected = paths.filter(
      file => !/^(dist|migrations)\/|^(package\.json|LICENSE|README\.md)$/.test(file),
    );
    expect(unexpected).toEqual([]);
  });
});
