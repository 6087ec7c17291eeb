import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { expect } from 'vitest';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { freePort } from '../../src/local/free-port.ts';
import { paymentJson, signPayment } from './payment.ts';

const CLI = path.resolve(import.meta.dirname, '../../src/cli.ts');

/** `npm run dev` in a process of its own. */
export interface Sandbox {
  child: ChildProcess;
  origin: string;
  banner: string;
}

/** A folder for the sandboxes of one test file, and a hand on all of them. */
export interface Sandboxes {
  folder: string;
  /** Starts the program and does not wait for anything. */
  spawn(name: string, port: number, options?: { uid?: number; gid?: number }): ChildProcess;
  /** Resolves when the banner is complete. */
  start(name: string, options?: { uid?: number; gid?: number }): Promise<Sandbox>;
  stop(child: ChildProcess, signal: NodeJS.Signals): Promise<void>;
  stopAll(): Promise<void>;
  /** Processes whose command line or folder names a sandbox, and so were started by it. */
  leftProcesses(name: string): Promise<string[]>;
  remove(): Promise<void>;
}

export async function openSandboxes(): Promise<Sandboxes> {
  const folder = await mkdtemp(path.join(tmpdir(), 'sandbox-test-'));
  await chmod(folder, 0o755);
  const children = new Set<ChildProcess>();

  function run(name: string, port: number, options: { uid?: number; gid?: number } = {}): ChildProcess {
    const child = spawn(process.execPath, ['--import', 'tsx', CLI, 'dev'], {
      env: { PATH: process.env['PATH'], HOME: folder, PORT: String(port), DATA_DIR: path.join(folder, name) },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...options,
    });
    children.add(child);
    return child;
  }

  async function start(name: string, options: { uid?: number; gid?: number } = {}): Promise<Sandbox> {
    const port = await freePort();
    const child = run(name, port, options);
    let banner = '';
    let problems = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      problems += chunk.toString();
    });
    for await (const chunk of child.stdout ?? []) {
      banner += String(chunk);
      if (banner.includes('Ctrl-C')) break;
    }
    if (!banner.includes('Ctrl-C')) throw new Error(`the sandbox did not start:\n${problems}`);
    return { child, origin: `http://127.0.0.1:${port}`, banner };
  }

  async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    children.delete(child);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  return {
    folder,
    spawn: run,
    start,
    stop,
    async stopAll() {
      for (const child of children) await stop(child, 'SIGINT');
    },
    leftProcesses: name => processesNaming(path.join(folder, name)),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

async function processesNaming(needle: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter(entry => /^\d+$/.test(entry));
  const lines = await Promise.all(
    pids.map(async pid => {
      const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '');
      return commandLine.includes(needle) || cwd.includes(needle) ? commandLine.replaceAll('\0', ' ') : '';
    }),
  );
  return lines.filter(line => line !== '');
}

export async function callSandbox(
  sandbox: Sandbox,
  route: string,
  body?: object,
  headers: Record<string, string> = {},
) {
  const answer = await fetch(`${sandbox.origin}${route}`, {
    method: body || route.includes('top-up') ? 'POST' : 'GET',
    ...(body ? { body: JSON.stringify(body) } : {}),
    headers: { ...(body ? { 'content-type': 'application/json' } : {}), ...headers },
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, never> };
}

/** What `/sandbox/v1/info` answers. */
export interface SandboxInfo {
  networks: { network: string; rpcUrl: string; asset: string; payTo: string }[];
  databaseUrl: string;
}

/** Where the sandbox's Tempo is, and who is paid there. */
export async function sandboxTempo(sandbox: Sandbox) {
  const info = (await callSandbox(sandbox, '/sandbox/v1/info')).body as unknown as SandboxInfo;
  const tempo = info.networks.find(({ network }) => network === 'eip155:42431');
  if (!tempo) throw new Error('the sandbox has no Tempo');
  return { ...tempo, payTo: tempo.payTo as `0x${string}` };
}

/** Pays 10 dollars from a fresh wallet through Venice's top-up. */
export async function topUp(
  sandbox: Sandbox,
): Promise<{ status: number; body: Record<string, never>; header: string }> {
  const payer = privateKeyToAccount(generatePrivateKey());
  const info = (await callSandbox(sandbox, '/sandbox/v1/info')).body as unknown as SandboxInfo;
  const funded = await callSandbox(sandbox, '/sandbox/v1/fund', {
    network: 'eip155:8453',
    address: payer.address,
    amountUsd: '100',
  });
  expect(funded).toEqual({ status: 200, body: { transaction: expect.stringMatching(/^0x[0-9a-f]{64}$/) } });
  const payTo = (info.networks[0]?.payTo ?? '0x') as `0x${string}`;
  const payload = paymentJson(await signPayment(payer, payTo, 10_000_000n));
  const header = encodeBase64Json({ x402Version: 2, scheme: 'exact', network: 'base', payload });
  return {
    ...(await callSandbox(sandbox, '/api/v1/x402/top-up', undefined, { 'payment-signature': header })),
    header,
  };
}
