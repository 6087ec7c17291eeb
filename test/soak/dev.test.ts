import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { callSandbox as call, openSandboxes, type Sandboxes, topUp } from '../support/sandbox.ts';

let sandboxes: Sandboxes;

beforeAll(async () => {
  sandboxes = await openSandboxes();
});

afterEach(() => sandboxes.stopAll());

afterAll(() => sandboxes.remove());

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
