import { spawn } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { sleep } from '../../src/lib/deadline.ts';
import { freePort } from '../../src/local/free-port.ts';
import { stopChild } from '../stop-child.ts';

export interface SandboxInfo {
  publicOrigin: string;
  networks: { network: string; rpcUrl: string; asset: string; payTo: string }[];
  databaseUrl: string;
}

/** A sandbox to play in; `stop` ends it only if it was started here. */
export interface Sandbox {
  origin: string;
  startedHere: boolean;
  stop(): Promise<void>;
}

const REPOSITORY = path.resolve(import.meta.dirname, '../..');
const ANSWER_TIMEOUT_MS = 2_000;
const START_TIMEOUT_MS = 90_000;
const STOP_TIMEOUT_MS = 60_000;
const POLL_MS = 100;

/** Takes the sandbox that answers on the port, else starts one that lives as long as it is needed. */
export async function findOrStartSandbox(port: number): Promise<Sandbox> {
  const origin = `http://127.0.0.1:${port}`;
  if (await isSandbox(origin)) return { origin, startedHere: false, stop: () => Promise.resolve() };
  return startSandbox();
}

async function isSandbox(origin: string): Promise<boolean> {
  try {
    const answer = await fetch(`${origin}/sandbox/v1/info`, {
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    return answer.ok && 'publicOrigin' in ((await answer.json()) as object);
  } catch {
    return false;
  }
}

async function startSandbox(): Promise<Sandbox> {
  const port = await freePort();
  const dataDir = await mkdtemp(path.join(tmpdir(), 'topup-gateway-demo-'));
  // PostgreSQL refuses to run as root, so it may run as another user, who must get in.
  await chmod(dataDir, 0o755);
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli.ts', 'dev'], {
    cwd: REPOSITORY,
    env: { ...process.env, PORT: String(port), DATA_DIR: dataDir },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const stop = async () => {
    await stopChild(child, 'SIGINT', STOP_TIMEOUT_MS);
    await rm(dataDir, { recursive: true, force: true });
  };
  const origin = `http://127.0.0.1:${port}`;
  try {
    await waitUntilReady(origin, () => child.exitCode === null && child.signalCode === null);
  } catch (error) {
    await stop();
    throw error;
  }
  return { origin, startedHere: true, stop };
}

async function waitUntilReady(origin: string, isRunning: () => boolean): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline) {
    if (!isRunning()) throw new Error('the sandbox ended while it was starting');
    const ready = await fetch(`${origin}/readyz`, { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) })
      .then(answer => answer.ok)
      .catch(() => false);
    if (ready) return;
    await sleep(POLL_MS);
  }
  throw new Error(`the sandbox was not ready after ${START_TIMEOUT_MS / 1000} s`);
}
