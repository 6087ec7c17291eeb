import { execFile } from 'node:child_process';
import { chmod, lstat, mkdir, readFile, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { SystemUser } from './child-process.ts';

const run = promisify(execFile);

/** Number of `nobody` where /etc/passwd does not say. */
const NOBODY = 65_534;
const SHARED_FOLDER = 'x402-topup-gateway';
/** Writable by others, for group and everybody. */
const WRITABLE_BY_OTHERS = 0o022;

/**
 * The user that PostgreSQL must run as. PostgreSQL refuses root, so root becomes the owner of an existing
 * cluster, else `nobody`.
 * @returns undefined when we are an ordinary user and simply start it ourselves.
 */
export async function postgresUser(cluster: string): Promise<SystemUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const owner = await stat(cluster).catch(() => undefined);
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '');
  const match = /^nobody:[^:]*:(-?\d+):(-?\d+):/m.exec(passwd);
  return { uid: Number(match?.[1] ?? NOBODY), gid: Number(match?.[2] ?? NOBODY) };
}

/**
 * Runs `postgres --version` as the user, inside a folder: the one honest test that the program loads and
 * that this user can reach the folder.
 * @returns the major version; undefined when the program cannot be run there.
 */
export async function probePostgres(
  nativeDir: string,
  folder: string,
  user: SystemUser | undefined,
): Promise<number | undefined> {
  try {
    // The folder is entered by the shell, because Node changes the directory before it changes the user.
    const script = 'cd -- "$1" && exec "$2" --version';
    const program = path.join(nativeDir, 'bin', 'postgres');
    const { stdout } = await run('/bin/sh', ['-c', script, 'sh', folder, program], {
      cwd: '/',
      env: {},
      timeout: 20_000,
      ...user,
    });
    const major = /PostgreSQL\) (\d+)/.exec(stdout)?.[1];
    return major === undefined ? undefined : Number(major);
  } catch {
    return undefined;
  }
}

/**
 * A folder that every user can enter and only root can write. Used by root alone, where a checkout or a
 * data directory under a private home is closed to the user that PostgreSQL runs as.
 */
export async function sharedFolder(): Promise<string> {
  for (const parent of ['/var/lib', '/var/tmp', os.tmpdir()]) {
    const folder = path.join(parent, SHARED_FOLDER);
    try {
      await mkdir(folder, { recursive: true });
      const info = await lstat(folder);
      if (!info.isDirectory() || info.uid !== 0 || (info.mode & WRITABLE_BY_OTHERS) !== 0) continue;
      await chmod(folder, 0o755);
      return folder;
    } catch {
      continue;
    }
  }
  throw new Error('no folder can be shared with the user that PostgreSQL runs as; set DATABASE_URL instead');
}
