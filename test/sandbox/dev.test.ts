import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { paymentJson, signPayment } from '../support/payment.ts';

const CLI = path.resolve(import.meta.dirname, '../../src/cli.ts');

let folder: string;
const children = new Set<ChildProcess>();

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'sandbox-test-'));
  await chmod(folder, 0o755);
});

afterEach(async () => {
  for (const child of children) await stop(child, 'SIGINT');
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

interface Sandbox {
  child: ChildProcess;
  origin: string;
  banner: string;
}

function freePort(): Promise<number> {
  return new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

async function startSandbox(name: string, options: { uid?: number; gid?: number } = {}): Promise<Sandbox> {
  const port = await freePort();
  const child = spawn(process.execPath, ['--import', 'tsx', CLI, 'dev'], {
    env: { PATH: process.env['PATH'], HOME: folder, PORT: String(port), DATA_DIR: path.join(folder, name) },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  });
  children.add(child);
  let banner = '';
  let problems = '';
  child.stderr.on('data', (chunk: Buffer) => {
    problems += chunk.toString();
  });
  for await (const chunk of child.stdout) {
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

/** Processes whose command line names this test's folder, and so were started by its sandboxes. */
async function leftProcesses(name: string): Promise<string[]> {
  const needle = path.join(folder, name);
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

async function call(sandbox: Sandbox, route: string, body?: object, headers: Record<string, string> = {}) {
  const answer = await fetch(`${sandbox.origin}${route}`, {
    method: body || route.includes('top-up') ? 'POST' : 'GET',
    ...(body ? { body: JSON.stringify(body) } : {}),
    headers: { ...(body ? { 'content-type': 'application/json' } : {}), ...headers },
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, never> };
}

interface Info {
  networks: { network: string; rpcUrl: string; asset: string; payTo: `0x${string}` }[];
  databaseUrl: string;
}

async function topUp(
  sandbox: Sandbox,
): Promise<{ status: number; body: Record<string, never>; header: string }> {
  const payer = privateKeyToAccount(generatePrivateKey());
  const info = (await call(sandbox, '/sandbox/v1/info')).body as unknown as Info;
  const funded = await call(sandbox, '/sandbox/v1/fund', {
    network: 'eip155:8453',
    address: payer.address,
    amountUsd: '100',
  });
  expect(funded).toEqual({ status: 200, body: { transaction: expect.stringMatching(/^0x[0-9a-f]{64}$/) } });
  const payTo = info.networks[0]?.payTo ?? '0x';
  const payload = paymentJson(await signPayment(payer, payTo, 10_000_000n));
  const header = encodeBase64Json({ x402Version: 2, scheme: 'exact', network: 'base', payload });
  return {
    ...(await call(sandbox, '/api/v1/x402/top-up', undefined, { 'payment-signature': header })),
    header,
  };
}

describe('npm run dev', () => {
  it('starts, says how to begin, takes a payment and leaves nothing behind', async () => {
    const sandbox = await startSandbox('plain');
    expect(sandbox.banner).toContain('SANDBOX');
    expect(sandbox.banner).toContain(`curl -i -X POST ${sandbox.origin}/api/v1/x402/top-up`);
    const ready = await call(sandbox, '/readyz');
    expect(ready).toMatchObject({ status: 200, body: { status: 'ready' } });
    expect(await call(sandbox, '/api/v1/x402/top-up')).toMatchObject({
      status: 402,
      body: { x402Version: 2 },
    });
    expect(await topUp(sandbox)).toMatchObject({ status: 200, body: { data: { newBalance: 10 } } });
    const page = await fetch(`${sandbox.origin}/docs`);
    expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('swagger')]);
    await stop(sandbox.child, 'SIGINT');
    expect(await leftProcesses('plain')).toEqual([]);
  });

  it('goes on after kill -9 with its money, and starts empty after a reset', async () => {
    const first = await startSandbox('killed');
    const paid = await topUp(first);
    await stop(first.child, 'SIGKILL');
    expect((await leftProcesses('killed')).length).toBeGreaterThan(0);

    const second = await startSandbox('killed');
    const again = await call(second, '/api/v1/x402/top-up', undefined, { 'payment-signature': paid.header });
    expect(again).toEqual({ status: 200, body: paid.body });
    expect(await topUp(second)).toMatchObject({ status: 200 });

    expect(await call(second, '/sandbox/v1/reset', {})).toEqual({ status: 200, body: { reset: true } });
    const forgotten = await call(second, '/api/v1/x402/top-up', undefined, {
      'payment-signature': paid.header,
    });
    expect(forgotten).toMatchObject({ status: 400, body: { error: 'PAYMENT_VERIFICATION_FAILED' } });
    expect(await topUp(second)).toMatchObject({ status: 200, body: { data: { newBalance: 10 } } });
    await stop(second.child, 'SIGINT');
    expect(await leftProcesses('killed')).toEqual([]);
  });

  it('empties the database too when the chain is lost, and says so', async () => {
    const first = await startSandbox('lost');
    await topUp(first);
    await stop(first.child, 'SIGINT');
    await rm(path.join(folder, 'lost', 'evm-8453', 'state.json.gz'));
    const second = await startSandbox('lost');
    expect(second.banner).toContain('could not be restored');
    expect(await topUp(second)).toMatchObject({ status: 200, body: { data: { newBalance: 10 } } });
  });

  it('empties database and chain when another version has migrated the database, and says so', async () => {
    const first = await startSandbox('other');
    const { header } = await topUp(first);
    const { databaseUrl } = (await call(first, '/sandbox/v1/info')).body as unknown as Info;
    const client = new Client({ connectionString: databaseUrl });
    await client.connect();
    await client.query("UPDATE cell_0.migration_checksum SET sha256 = 'another' WHERE name LIKE '0004%'");
    await client.end();
    await stop(first.child, 'SIGINT');
    const second = await startSandbox('other');
    expect(second.banner).toContain('made by another version');
    expect(
      await call(second, '/api/v1/x402/top-up', undefined, { 'payment-signature': header }),
    ).toMatchObject({ status: 400, body: { error: 'PAYMENT_VERIFICATION_FAILED' } });
    expect(await topUp(second)).toMatchObject({ status: 200, body: { data: { newBalance: 10 } } });
  });

  it('runs twice side by side', async () => {
    const [left, right] = await Promise.all([startSandbox('left'), startSandbox('right')]);
    const answers = await Promise.all([topUp(left), topUp(right)]);
    expect(answers.map(answer => answer.status)).toEqual([200, 200]);
    const infos = await Promise.all([call(left, '/sandbox/v1/info'), call(right, '/sandbox/v1/info')]);
    expect(infos[0]?.body['databaseUrl']).not.toBe(infos[1]?.body['databaseUrl']);
  });

  it('refuses a folder that another sandbox uses', async () => {
    await startSandbox('shared');
    await expect(startSandbox('shared')).rejects.toThrow(/in use by process/);
  });

  it('says that its port is taken, and ends with everything that it started', async () => {
    const first = await startSandbox('port');
    const port = new URL(first.origin).port;
    const second = spawn(process.execPath, ['--import', 'tsx', CLI, 'dev'], {
      env: { PATH: process.env['PATH'], HOME: folder, PORT: port, DATA_DIR: path.join(folder, 'taken') },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    children.add(second);
    let problem = '';
    second.stderr.on('data', (chunk: Buffer) => {
      problem += chunk.toString();
    });
    expect(await once(second, 'exit')).toEqual([1, null]);
    expect(problem.trim()).toBe(`port ${port} is taken: choose another with PORT`);
    await expect.poll(() => leftProcesses('taken'), { timeout: 10_000 }).toEqual([]);
  });

  it('refuses to fund what it cannot, and stores nothing', async () => {
    const sandbox = await startSandbox('refusals');
    const good = { network: 'eip155:8453', address: `0x${'1'.repeat(40)}`, amountUsd: '1' };
    for (const wrong of [
      { network: 'eip155:1' },
      { address: '0x123' },
      { amountUsd: '-1' },
      { amountUsd: '0' },
      { amountUsd: '1000000.01' },
      { amountUsd: 1 },
      { amountUsd: undefined },
      { surprise: true },
    ]) {
      const answer = await call(sandbox, '/sandbox/v1/fund', { ...good, ...wrong });
      expect(answer).toMatchObject({ status: 400, body: { error: 'malformed_request' } });
    }
    expect(await call(sandbox, '/sandbox/v1/fund', good)).toMatchObject({ status: 200 });
  });
});
