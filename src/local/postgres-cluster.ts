import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { SystemUser } from './child-process.ts';
import type { PostgresBinaries } from './postgres-binaries.ts';
import { probePostgres, sharedFolder } from './postgres-user.ts';

const run = promisify(execFile);

export const SUPERUSER = 'gateway';

/** Nothing of the user's own settings reaches PostgreSQL. */
export const POSTGRES_ENV = { LC_ALL: 'C', TZ: 'UTC' };

/** Written into the cluster before it gets its name, so a cluster is never without it. */
const PASSWORD_FILE = 'superuser-password';
/** Names the folder that holds the cluster when that is not the sandbox's own. */
const POINTER_FILE = 'cluster-location';
/** Inside the cluster's folder elsewhere: the folder that points to it. */
const OWNER_FILE = 'belongs-to';
const SHARED_PREFIX = 'cluster-';
const STAGING_PREFIX = 'cluster.new-';
const INITDB_TIMEOUT_MS = 120_000;

/** Where a cluster is or will be; `base` also holds its log. */
export interface ClusterPlace {
  base: string;
  cluster: string;
}

/**
 * Where the cluster of this folder is. The pointer file is the truth: a cluster elsewhere whose pointer is
 * gone belonged to a data directory that was deleted.
 */
export async function existingPlace(folder: string): Promise<ClusterPlace> {
  const pointer = await readFile(path.join(folder, POINTER_FILE), 'utf8').catch(() => undefined);
  return placeIn(pointer?.trim() ?? folder);
}

function placeIn(base: string): ClusterPlace {
  return { base, cluster: path.join(base, 'cluster') };
}

/**
 * Says whether the cluster is whole and made by this major version. What is not is moved aside (one copy is
 * kept), because a sandbox that does not start helps nobody.
 */
export async function isUsable(
  place: ClusterPlace,
  majorVersion: number,
  log: (line: string) => void,
): Promise<boolean> {
  const info = await stat(place.cluster).catch(() => undefined);
  if (!info) return false;
  const read = (name: string) => readFile(path.join(place.cluster, name), 'utf8').catch(() => undefined);
  const version = (await read('PG_VERSION'))?.trim();
  const whole = (await read('global/pg_control')) !== undefined && (await read(PASSWORD_FILE)) !== undefined;
  if (whole && version === String(majorVersion)) return true;
  const aside = `${place.cluster}.unusable`;
  await rm(aside, { recursive: true, force: true });
  await rename(place.cluster, aside);
  const reason = whole ? `was made by PostgreSQL ${version}` : 'is damaged';
  log(`the local database ${reason}; it was moved to ${aside} and a new one is made`);
  return false;
}

/** Password of the superuser, for the database URL. */
export async function readPassword(place: ClusterPlace): Promise<string> {
  return (await readFile(path.join(place.cluster, PASSWORD_FILE), 'utf8')).trim();
}

export interface CreateClusterOptions {
  folder: string;
  binaries: PostgresBinaries;
  user: SystemUser | undefined;
  fsync: boolean;
}

/**
 * Makes a new cluster. It is built under another name and renamed when it is complete, so that a kill in
 * between leaves nothing that looks like a cluster.
 */
export async function createCluster(options: CreateClusterOptions): Promise<ClusterPlace> {
  const { user } = options;
  const { place, staging } = await choosePlace(options);
  const password = randomBytes(24).toString('base64url');
  const passwordFile = path.join(place.base, `${PASSWORD_FILE}.new`);
  try {
    await writePrivately(passwordFile, password, user);
    await initialize(options, staging, passwordFile);
    await writePrivately(path.join(staging, PASSWORD_FILE), password, user);
    await rename(staging, place.cluster);
  } finally {
    await rm(passwordFile, { force: true });
  }
  return place;
}

/**
 * The sandbox's own folder where the user of PostgreSQL can reach it, else a shared folder named after it:
 * initdb fails when a parent of its directory is closed to that user, or when a mounted volume does not
 * let us give files away.
 */
async function choosePlace({
  folder,
  binaries,
  user,
}: CreateClusterOptions): Promise<{ place: ClusterPlace; staging: string }> {
  const last = await existingPlace(folder);
  const pointer = path.join(folder, POINTER_FILE);
  await rm(pointer, { force: true });
  const own = await prepareStaging(folder, binaries, user);
  if (own) return { place: placeIn(folder), staging: own };
  if (user) {
    const shared = await sharedFolder();
    const name = `${SHARED_PREFIX}${createHash('sha256').update(folder).digest('hex').slice(0, 16)}`;
    const base = path.join(shared, name);
    // What nobody pointed to belonged to a folder of this name that was deleted.
    if (last.base !== base) await rm(base, { recursive: true, force: true });
    // The pointer comes first: a place that nothing points to is swept away by others.
    await writeFile(pointer, `${base}\n`);
    await mkdir(base, { recursive: true });
    await chmod(base, 0o711);
    await writeFile(path.join(base, OWNER_FILE), `${folder}\n`);
    await sweepSharedFolder(shared);
    const staging = await prepareStaging(base, binaries, user);
    if (staging) return { place: placeIn(base), staging };
  }
  throw new Error(`no local database can be made in ${folder}; choose another DATA_DIR`);
}

/** Removes the clusters of data directories that were deleted; nobody else would. */
async function sweepSharedFolder(shared: string): Promise<void> {
  const names = (await readdir(shared)).filter(name => name.startsWith(SHARED_PREFIX));
  for (const name of names) {
    const base = path.join(shared, name);
    const owner = await readFile(path.join(base, OWNER_FILE), 'utf8').catch(() => undefined);
    if (owner === undefined) continue;
    const pointer = await readFile(path.join(owner.trim(), POINTER_FILE), 'utf8').catch(() => undefined);
    if (pointer?.trim() === base) continue;
    await rm(base, { recursive: true, force: true }).catch(() => undefined);
  }
}

/**
 * Makes an empty directory for initdb and tries it out. Its name is new each time: an initdb that outlived a
 * killed parent may still be writing to the last one.
 */
async function prepareStaging(
  base: string,
  binaries: PostgresBinaries,
  user: SystemUser | undefined,
): Promise<string | undefined> {
  await removeOldStaging(base);
  const staging = path.join(base, `${STAGING_PREFIX}${randomBytes(6).toString('hex')}`);
  await mkdir(staging, { mode: 0o700 });
  try {
    if (user) await chown(staging, user.uid, user.gid);
    if ((await probePostgres(binaries.nativeDir, staging, user)) !== undefined) return staging;
  } catch {
    // A file system without owners refuses chown; the caller has another place.
  }
  await rm(staging, { recursive: true, force: true });
  return undefined;
}

/** What an initdb is still writing to cannot be removed; the next time will do. */
async function removeOldStaging(base: string): Promise<void> {
  const names = (await readdir(base)).filter(name => name.startsWith(STAGING_PREFIX));
  for (const name of names) {
    await rm(path.join(base, name), { recursive: true, force: true }).catch(() => undefined);
  }
}

async function writePrivately(file: string, text: string, user: SystemUser | undefined): Promise<void> {
  await rm(file, { force: true });
  await writeFile(file, text, { mode: 0o600, flag: 'wx' });
  if (user) await chown(file, user.uid, user.gid);
}

async function initialize(
  options: CreateClusterOptions,
  staging: string,
  passwordFile: string,
): Promise<void> {
  const args = [
    `--pgdata=${staging}`,
    `--username=${SUPERUSER}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    // The built-in provider has the same C.UTF-8 on every system; libc's is missing on some.
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--no-instructions',
    ...(options.fsync ? [] : ['--no-sync']),
  ];
  try {
    await run(path.join(options.binaries.nativeDir, 'bin', 'initdb'), args, {
      cwd: staging,
      env: POSTGRES_ENV,
      timeout: INITDB_TIMEOUT_MS,
      ...options.user,
    });
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    throw new Error(`initdb failed: ${stderr?.trim() || (error as Error).message}`, { cause: error });
  }
}
