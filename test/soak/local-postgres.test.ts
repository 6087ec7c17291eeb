import { spawn } from 'node:child_process';
import { access, chmod, cp, lstat, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type LocalPostgres, startLocalPostgres } from '../../src/local/postgres.ts';
import { copyNativeTree } from '../../src/local/postgres-binaries.ts';
import { postgresUser, probePostgres } from '../../src/local/postgres-user.ts';
import {
  endWith,
  isAlive,
  nativeTree,
  openFolder,
  postgresPid,
  startInChild,
} from '../support/local-processes.ts';

let root: Awaited<ReturnType<typeof openFolder>>;

beforeAll(async () => {
  root = await openFolder();
});

afterAll(() => root.remove());

function dataDirOf(name: string): string {
  return path.join(root.folder, name);
}

/** Starts in this process; stopped at the end of the test at the latest. */
async function start(dataDir: string, lines: string[] = []): Promise<LocalPostgres> {
  const postgres = await startLocalPostgres({ dataDir, fsync: false, log: line => lines.push(line) });
  onTestFinished(() => postgres.stop());
  return postgres;
}

async function query<Row extends object>(databaseUrl: string, text: string): Promise<Row[]> {
  const client = new Client({ connectionString: databaseUrl });
  // A server that is stopped under an open connection is reported here too.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Row & Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

async function writeMark(databaseUrl: string): Promise<void> {
  await query(databaseUrl, "CREATE TABLE mark AS SELECT 'kept'::text AS text");
}

async function readMark(databaseUrl: string): Promise<string | undefined> {
  return (await query<{ text: string }>(databaseUrl, 'SELECT text FROM mark'))[0]?.text;
}

describe('local PostgreSQL', () => {
  it('starts empty, for us alone, and goes on with its data and port', async () => {
    const first = await startLocalPostgres({ dataDir: dataDirOf('plain'), log: () => undefined });
    expect(first.fresh).toBe(true);
    const [settings] = await query(
      first.databaseUrl,
      `SELECT current_setting('server_version_num')::int / 10000 AS major,
         current_setting('server_encoding') AS encoding,
         current_setting('listen_addresses') AS address,
         current_setting('fsync') AS fsync,
         (SELECT datlocale FROM pg_database WHERE datname = current_database()) AS locale,
         lower('ÄÖ') AS lower`,
    );
    expect(settings).toEqual({
      major: 18,
      encoding: 'UTF8',
      address: '127.0.0.1',
      fsync: 'on',
      locale: 'C.UTF-8',
      lower: 'äö',
    });
    const wrong = new URL(first.databaseUrl);
    wrong.password = 'wrong';
    await expect(query(wrong.href, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
    await writeMark(first.databaseUrl);
    const pid = await postgresPid(path.join(dataDirOf('plain'), 'postgres'));
    await first.stop();
    expect(await isAlive(pid)).toBe(false);

    const second = await start(dataDirOf('plain'));
    expect(second).toMatchObject({ fresh: false, databaseUrl: first.databaseUrl });
    expect(await readMark(second.databaseUrl)).toBe('kept');
  });

  it('takes over after kill -9 of its parent and of itself', async () => {
    const dataDir = dataDirOf('killed');
    const { child, started } = await startInChild(dataDir, ['postgres']);
    await writeMark(started.databaseUrl);
    await endWith(child, 'SIGKILL');
    const left = await postgresPid(path.join(dataDir, 'postgres'));
    expect(await isAlive(left)).toBe(true);

    const lines: string[] = [];
    const second = await start(dataDir, lines);
    expect(await isAlive(left)).toBe(false);
    expect(await readMark(second.databaseUrl)).toBe('kept');

    const own = await postgresPid(path.join(dataDir, 'postgres'));
    process.kill(own, 'SIGKILL');
    await vi.waitFor(() => expect(lines.at(-1)).toContain('ended unexpectedly'), 10_000);
    await second.stop();
    const third = await start(dataDir);
    expect(third.fresh).toBe(false);
    expect(await readMark(third.databaseUrl)).toBe('kept');
  });

  it('ends with a parent that handles no signal', async () => {
    const dataDir = dataDirOf('orphan');
    const { child } = await startInChild(dataDir, ['postgres']);
    const pid = await postgresPid(path.join(dataDir, 'postgres'));
    await endWith(child, 'SIGINT');
    expect(child.signalCode).toBe('SIGINT');
    await vi.waitFor(async () => expect(await isAlive(pid)).toBe(false), 10_000);
  });

  it('begins anew after a kill during its making', async () => {
    const dataDir = dataDirOf('half');
    const starting = startInChild(dataDir, ['postgres']).catch((error: unknown) => error);
    const folder = path.join(dataDir, 'postgres');
    const owner = await vi.waitFor(async () => {
      const names = await readdir(folder);
      expect(names.some(name => name.startsWith('cluster.new-'))).toBe(true);
      return Number((await readFile(path.join(folder, 'owner.lock'), 'utf8')).split(' ')[0]);
    }, 20_000);
    process.kill(owner, 'SIGKILL');
    expect(await starting).toBeInstanceOf(Error);
    // Its pipes are closed before it is gone.
    await vi.waitFor(async () => expect(await isAlive(owner)).toBe(false), 10_000);

    const postgres = await start(dataDir);
    expect(postgres.fresh).toBe(true);
    expect(await query(postgres.databaseUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('moves a damaged cluster aside', async () => {
    const dataDir = dataDirOf('damaged');
    await (await start(dataDir)).stop();
    const cluster = path.join(dataDir, 'postgres', 'cluster');
    await rm(path.join(cluster, 'global', 'pg_control'));
    const lines: string[] = [];
    const postgres = await start(dataDir, lines);
    expect(postgres.fresh).toBe(true);
    expect(lines.join()).toContain('is damaged; it was moved to');
    await access(`${cluster}.unusable`);
  });

  it('starts when the number in its lock file belongs to somebody else by now', async () => {
    const dataDir = dataDirOf('reused');
    await (await start(dataDir)).stop();
    const cluster = path.join(dataDir, 'postgres', 'cluster');
    const user = await postgresUser(cluster);
    const stranger = spawn('sleep', ['60'], user ?? {});
    onTestFinished(() => void stranger.kill());
    await writeFile(path.join(cluster, 'postmaster.pid'), `${stranger.pid}\n${cluster}\n1\n5432\n\n\n\n`);
    const postgres = await start(dataDir);
    expect(postgres.fresh).toBe(false);
    expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
  });

  it('refuses a folder in use and gives it back at the end', async () => {
    const dataDir = dataDirOf('shared');
    const first = await start(dataDir);
    await expect(start(dataDir)).rejects.toThrow(/in use by process/);
    await first.stop();
    await start(dataDir);
  });

  it('runs beside another one, and passes a taken port', async () => {
    const [left, right] = await Promise.all([start(dataDirOf('left')), start(dataDirOf('right'))]);
    expect(new URL(left.databaseUrl).port).not.toBe(new URL(right.databaseUrl).port);
    await right.stop();
    // The second folder last used a port that the first one's server holds now.
    const options = path.join(dataDirOf('right'), 'postgres', 'cluster', 'postmaster.opts');
    const text = await readFile(options, 'utf8');
    await writeFile(options, text.replace(/"-p" "\d+"/, `"-p" "${new URL(left.databaseUrl).port}"`));
    const again = await start(dataDirOf('right'));
    expect(await query(again.databaseUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('works in a folder whose parents are closed to other users', async () => {
    const closed = dataDirOf('closed');
    await mkdir(closed);
    await chmod(closed, 0o700);
    const dataDir = path.join(closed, 'data');
    const first = await start(dataDir);
    const placeOf = async (folder: string) => {
      const pointer = path.join(folder, 'postgres', 'cluster-location');
      return (await readFile(pointer, 'utf8').catch(() => path.join(folder, 'postgres'))).trim();
    };
    const place = await placeOf(dataDir);
    // Only root runs the server as somebody else; an ordinary user is at home there.
    expect(place.startsWith(closed)).toBe(process.getuid?.() !== 0);
    await writeMark(first.databaseUrl);
    await first.stop();
    const second = await start(dataDir);
    expect(await readMark(second.databaseUrl)).toBe('kept');
    await second.stop();

    // A deleted data directory takes its cluster along, at the latest when another one is made.
    await rm(dataDir, { recursive: true });
    const other = path.join(closed, 'other');
    const third = await start(other);
    expect(third.fresh).toBe(true);
    await expect(access(place)).rejects.toMatchObject({ code: 'ENOENT' });
    await third.stop();
    await rm(await placeOf(other), { recursive: true });
  });

  it('repairs a package whose install script did not run', async () => {
    const source = dataDirOf('package');
    const isLink = async (file: string) => (await lstat(file)).isSymbolicLink();
    await cp(nativeTree(), source, { recursive: true, filter: async file => !(await isLink(file)) });
    const user = await postgresUser('');
    expect(await probePostgres(source, '/', user)).toBeUndefined();
    const target = dataDirOf('copy');
    await Promise.all([copyNativeTree(source, target), copyNativeTree(source, target)]);
    expect(await probePostgres(target, '/', user)).toBe(18);
    expect((await readdir(root.folder)).filter(name => name.startsWith('copy.'))).toEqual([]);
  });
});
