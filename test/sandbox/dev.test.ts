import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { Client } from 'pg';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { paymentJson, signPayment } from '../support/payment.ts';
import {
  callSandbox as call,
  openSandboxes,
  type Sandbox,
  type Sandboxes,
  type SandboxInfo,
} from '../support/sandbox.ts';

let sandboxes: Sandboxes;

beforeAll(async () => {
  sandboxes = await openSandboxes();
});

afterEach(() => sandboxes.stopAll());

afterAll(() => sandboxes.remove());

async function topUp(
  sandbox: Sandbox,
): Promise<{ status: number; body: Record<string, never>; header: string }> {
  const payer = privateKeyToAccount(generatePrivateKey());
  const info = (await call(sandbox, '/sandbox/v1/info')).body as unknown as SandboxInfo;
  const funded = await call(sandbox, '/sandbox/v1/fund', {
    network: 'eip155:8453',
    address: payer.address,
    amountUsd: '100',
  });
  expect(funded).toEqual({ status: 200, body: { transaction: expect.stringMatching(/^0x[0-9a-f]{64}$/) } });
  const payTo = (info.networks[0]?.payTo ?? '0x') as `0x${string}`;
  const payload = paymentJson(await signPayment(payer, payTo, 10_000_000n));
  const header = encodeBase64Json({ x402Version: 2, scheme: 'exact', network: 'base', payload });
  return {
    ...(await call(sandbox, '/api/v1/x402/top-up', undefined, { 'payment-signature': header })),
    header,
  };
}

describe('npm run dev', () => {
  it('starts, says how to begin, takes a payment and leaves nothing behind', async () => {
    const sandbox = await sandboxes.start('plain');
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
    await sandboxes.stop(sandbox.child, 'SIGINT');
    expect(await sandboxes.leftProcesses('plain')).toEqual([]);
  });

  it('goes on after kill -9 with its money, and starts empty after a reset', async () => {
    const first = await sandboxes.start('killed');
    const paid = await topUp(first);
    await sandboxes.stop(first.child, 'SIGKILL');
    expect((await sandboxes.leftProcesses('killed')).length).toBeGreaterThan(0);

    const second = await sandboxes.start('killed');
    const again = await call(second, '/api/v1/x402/top-up', undefined, { 'payment-signature': paid.header });
    expect(again).toEqual({ status: 200, body: paid.body });
    expect(await topUp(second)).toMatchObject({ status: 200 });

    expect(await call(second, '/sandbox/v1/reset', {})).toEqual({ status: 200, body: { reset: true } });
    const forgotten = await call(second, '/api/v1/x402/top-up', undefined, {
      'payment-signature': paid.header,
    });
    expect(forgotten).toMatchObject({ status: 400, body: { error: 'PAYMENT_VERIFICATION_FAILED' } });
    expect(await topUp(second)).toMatchObject({ status: 200, body: { data: { newBalance: 10 } } });
    await sandboxes.stop(second.child, 'SIGINT');
    expect(await sandboxes.leftProcesses('killed')).toEqual([]);
  });

  it('empties the database too when the chain is lost, and says so', async () => {
    const first = await sandboxes.start('lost');
    await topUp(first);
    await sandboxes.stop(first.child, 'SIGINT');
    await rm(path.join(sandboxes.folder, 'lost', 'evm-8453', 'state.json.gz'));
    const second = await sandboxes.start('lost');
    expect(second.banner).toContain('could not be restored');
    expect(await topUp(second)).toMatchObject({ status: 200, body: { data: { newBalance: 10 } } });
  });

  it('empties database and chain when another version has migrated the database, and says so', async () => {
    const first = await sandboxes.start('other');
    const { header } = await topUp(first);
    const { databaseUrl } = (await call(first, '/sandbox/v1/info')).body as unknown as SandboxInfo;
    const client = new Client({ connectionString: databaseUrl });
    await client.connect();
    await client.query("UPDATE cell_0.migration_checksum SET sha256 = 'another' WHERE name LIKE '0004%'");
    await client.end();
    await sandboxes.stop(first.child, 'SIGINT');
    const second = await sandboxes.start('other');
    expect(second.banner).toContain('made by another version');
    expect(
      await call(second, '/api/v1/x402/top-up', undefined, { 'payment-signature': header }),
    ).toMatchObject({ status: 400, body: { error: 'PAYMENT_VERIFICATION_FAILED' } });
    expect(await topUp(second)).toMatchObject({ status: 200, body: { data: { newBalance: 10 } } });
  });

  it('runs twice side by side', async () => {
    const [left, right] = await Promise.all([sandboxes.start('left'), sandboxes.start('right')]);
    const answers = await Promise.all([topUp(left), topUp(right)]);
    expect(answers.map(answer => answer.status)).toEqual([200, 200]);
    const infos = await Promise.all([call(left, '/sandbox/v1/info'), call(right, '/sandbox/v1/info')]);
    expect(infos[0]?.body['databaseUrl']).not.toBe(infos[1]?.body['databaseUrl']);
  });

  it('refuses a folder that another sandbox uses', async () => {
    await sandboxes.start('shared');
    await expect(sandboxes.start('shared')).rejects.toThrow(/in use by process/);
  });

  it('says that its port is taken, and ends with everything that it started', async () => {
    const first = await sandboxes.start('port');
    const port = new URL(first.origin).port;
    const second = sandboxes.spawn('taken', Number(port));
    let problem = '';
    second.stderr?.on('data', (chunk: Buffer) => {
      problem += chunk.toString();
    });
    expect(await once(second, 'exit')).toEqual([1, null]);
    expect(problem.trim()).toBe(`port ${port} is taken: choose another with PORT`);
    await expect.poll(() => sandboxes.leftProcesses('taken'), { timeout: 10_000 }).toEqual([]);
  });

  it('refuses to fund what it cannot, and stores nothing', async () => {
    const sandbox = await sandboxes.start('refusals');
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
