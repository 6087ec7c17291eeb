import { chmod, mkdir, readFile, realpath, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { sleep } from '../lib/deadline.ts';
import { type ServerProcess, type SystemUser, startServer } from './child-process.ts';
import { lockFolder } from './folder-lock.ts';
import { freePort } from './free-port.ts';
import { findPostgres, type PostgresBinaries } from './postgres-binaries.ts';
import {
  type ClusterPlace,
  createCluster,
  existingPlace,
  isUsable,
  POSTGRES_ENV,
  readPassword,
  SUPERUSER,
} from './postgres-cluster.ts';
import { postgresUser } from './postgres-user.ts';
import { describeProcess, type StopStep, stopProcess } from './process-table.ts';

export interface LocalPostgresOptions {
  /** The database lives in its subfolder `postgres`. */
  dataDir: string;
  /** False loses committed data when the machine (not the process) stops: for tests. */
  fsync?: boolean;
  log: (line: string) => void;
}

export interface LocalPostgres {
  /** Superuser on 127.0.0.1, with its password. */
  databaseUrl: string;
  /** The cluster was made by this start: it is empty. */
  fresh: boolean;
  stop(): Promise<void>;
}

/** Fast shutdown, then immediate shutdown (recovers at the next start), then the end. */
const STOP_STEPS: readonly StopStep[] = [
  { signal: 'SIGINT', waitMs: 10_000 },
  { signal: 'SIGQUIT', waitMs: 5_000 },
  { signal: 'SIGKILL', waitMs: 5_000 },
];

const READY_TIMEOUT_MS = 60_000;
const POLL_MS = 10;
const MAX_START_ATTEMPTS = 8;

/** A process number that no system gives out: stands for "nobody" in a lock file. */
const NO_PROCESS = 2 ** 31 - 1;

/**
 * Starts a real PostgreSQL on this machine, makes its cluster when there is none, and recovers from
 * whatever an earlier run left: a server that outlived its parent, a half-made cluster, a stale lock file.
 * @throws when another running process uses the folder, or with the last lines of the server's log.
 */
export async function startLocalPostgres(options: LocalPostgresOptions): Promise<LocalPostgres> {
  const { log } = options;
  const folder = await ownFolder(options.dataDir);
  const unlock = await lockFolder(folder);
  try {
    const place = await existingPlace(folder);
    await stopLeftover(place, log);
    const user = await postgresUser(place.cluster);
    const binaries = await findPostgres(user, folder);
    const fresh = !(await isUsable(place, binaries.majorVersion, log));
    const fsync = options.fsync ?? true;
    const ready = fresh ? await createCluster({ folder, binaries, user, fsync }) : place;
    const { server, port } = await startCluster(ready, { binaries, user, fsync, log });
    const password = await readPassword(ready);
    let stopping: Promise<void> | undefined;
    void server.ended.then(() => {
      if (!stopping) log(`the local database ended unexpectedly; see ${logFileOf(ready)}`);
    });

    async function stop(): Promise<void> {
      try {
        await server.stop(STOP_STEPS);
      } finally {
        await unlock();
      }
    }

    return {
      databaseUrl: `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/postgres`,
      fresh,
      stop: () => (stopping ??= stop()),
    };
  } catch (error) {
    await unlock();
    throw error;
  }
}

async function ownFolder(dataDir: string): Promise<string> {
  const folder = path.join(dataDir, 'postgres');
  await mkdir(folder, { recursive: true });
  try {
    // The umask may have closed it, and as root PostgreSQL runs as somebody else.
    await chmod(folder, 0o711);
  } catch (error) {
    throw new Error(`${folder} belongs to another user; choose another DATA_DIR`, { cause: error });
  }
  return realpath(folder);
}

function logFileOf(place: ClusterPlace): string {
  return path.join(place.base, 'postgres.log');
}

function lockFileOf(place: ClusterPlace): string {
  return path.join(place.cluster, 'postmaster.pid');
}

/** Lines of postmaster.pid: process, directory, start time, port, socket directory, address, shared memory, state. */
async function readLockFile(place: ClusterPlace): Promise<string[] | undefined> {
  const text = await readFile(lockFileOf(place), 'utf8').catch(() => undefined);
  return text?.split('\n').map(line => line.trim());
}

/**
 * Stops a server that outlived its parent. When the number in the lock file belongs to somebody else by now
 * (usual after a container restart), PostgreSQL would refuse to start, so the number is replaced; the rest of
 * the file stays, because PostgreSQL finds orphaned backends by the shared memory it names.
 */
async function stopLeftover(place: ClusterPlace, log: (line: string) => void): Promise<void> {
  const [pidText, ...rest] = (await readLockFile(place)) ?? [];
  const pid = Number(pidText);
  if (!Number.isSafeInteger(pid) || pid <= 1 || pid === NO_PROCESS) return;
  const isServer = async () => {
    const { commandLine = '' } = (await describeProcess(pid)) ?? {};
    return commandLine.includes('postgres') && commandLine.includes(` -D ${place.cluster} `);
  };
  if (await isServer()) {
    log('a local database of an earlier run is still running; stopping it');
    await stopProcess(pid, isServer, STOP_STEPS);
  } else if ((await describeProcess(pid)) !== undefined) {
    await writeFile(lockFileOf(place), [NO_PROCESS, ...rest].join('\n'));
  }
}

interface StartOptions {
  binaries: PostgresBinaries;
  user: SystemUser | undefined;
  fsync: boolean;
  log: (line: string) => void;
}

/** Starts the server, on its last port when that is free; retries what passes by itself. */
async function startCluster(
  place: ClusterPlace,
  options: StartOptions,
): Promise<{ server: ServerProcess; port: number }> {
  let preferred = await lastPort(place);
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort(preferred);
    const server = await startServer({
      command: path.join(options.binaries.nativeDir, 'bin', 'postgres'),
      args: ['-D', place.cluster, '-p', String(port), ...settings(options.fsync)],
      cwd: place.cluster,
      env: POSTGRES_ENV,
      user: options.user,
      logFile: logFileOf(place),
    });
    if (await becomesReady(place, server)) return { server, port };
    await server.stop(STOP_STEPS);
    const output = await readFile(logFileOf(place), 'utf8').catch(() => '');
    const portTaken = /could not bind|could not create any TCP/.test(output);
    const predecessor = /lock file ".*" already exists|shared memory block .* is still in use/.test(output);
    if ((!portTaken && !predecessor) || attempt === MAX_START_ATTEMPTS) {
      throw new Error(
        `the local database does not start:\n${output.split('\n').slice(-12).join('\n').trim()}`,
      );
    }
    if (portTaken) preferred = undefined;
    if (predecessor) {
      // Either it was just starting when its parent was killed, or its last sessions are still ending.
      await stopLeftover(place, options.log);
      await sleep(50 * 2 ** attempt);
    }
  }
}

/** postmaster.opts keeps the command line of the last start, also after a clean stop. */
async function lastPort(place: ClusterPlace): Promise<number | undefined> {
  const text = await readFile(path.join(place.cluster, 'postmaster.opts'), 'utf8').catch(() => '');
  const port = /"-p" "(\d+)"/.exec(text)?.[1];
  return port === undefined ? undefined : Number(port);
}

/** Memory and helper processes for a laptop; given at every start, so that old clusters follow. */
function settings(fsync: boolean): string[] {
  const values: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '300',
    shared_buffers: '128MB',
    huge_pages: 'off',
    min_wal_size: '32MB',
    max_wal_size: '256MB',
    jit: 'off',
    io_method: 'sync',
    max_parallel_workers: '0',
    max_logical_replication_workers: '0',
    // Statement errors (a refused duplicate) reach the client; here they would only fill the file.
    log_min_messages: 'log',
    log_checkpoints: 'off',
    ...(fsync ? {} : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
  };
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

async function becomesReady(place: ClusterPlace, server: ServerProcess): Promise<boolean> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (performance.now() < deadline && server.isRunning()) {
    const lines = await readLockFile(place);
    if (lines?.[0] === String(server.pid) && lines[7] === 'ready') return true;
    await sleep(POLL_MS);
  }
  return false;
}
