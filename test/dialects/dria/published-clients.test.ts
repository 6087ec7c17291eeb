import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { FastifyInstance } from 'fastify';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLIENTS_FOLDER } from '../../../scripts/clients.ts';
import { buildApp } from '../../../src/app.ts';
import { loadConfig } from '../../../src/config/config.ts';
import { createLog } from '../../../src/http/log.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { createServices } from '../../../src/services/services.ts';
import { mintUsdc, usdcBalance } from '../../support/chain.ts';
import { startGateway, type TestGateway } from '../../support/gateway.ts';
import { balanceOf, createKey } from './dria-gateway.ts';

let gateway: TestGateway;
let origin: string;

beforeAll(async () => {
  gateway = await startGateway();
  await gateway.app.listen({ host: '127.0.0.1', port: 0 });
  origin = originOf(gateway.app);
}, 300_000);

afterAll(async () => {
  await gateway?.stop();
});

const originOf = (app: FastifyInstance) => `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;

interface Answer {
  status?: number;
  body?: unknown;
  error?: { name: string; message: string; status?: number };
  requests: { status: number; sentHeaders: string[] }[];
}

/** Runs one call in a process of its own, with the clients' own packages. */
async function run(action: string, order: Record<string, unknown>): Promise<Answer> {
  const child = spawn(process.execPath, [path.join(CLIENTS_FOLDER, 'dria-process.mjs')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.write(`${JSON.stringify({ action, origin, ...order })}\n`);
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  child.kill();
  return JSON.parse(line) as Answer;
}

/** A key with nothing on it and a wallet with 100 dollars. */
async function createBuyer() {
  const privateKey = generatePrivateKey();
  const { address } = privateKeyToAccount(privateKey);
  await mintUsdc(address, 100_000_000n);
  return { apiKey: await createKey(gateway), privateKey, address };
}

const CREDITED = { credits_added: 1000, balance: 1000, balance_usdc: '10.00', txHash: expect.any(String) };

describe('the offer', () => {
  it('is what the schemas of both generations of clients demand', async () => {
    const answer = await run('schemas', { apiKey: await createKey(gateway), amount: '25' });
    expect(answer).toMatchObject({
      status: 402,
      first: [{ network: 'base', maxAmountRequired: '25000000' }],
      firstInSecond: { x402Version: 1 },
      second: { x402Version: 2, accepts: [{ network: 'eip155:8453', amount: '25000000' }] },
    });
  });
});

describe('x402-fetch 1.2.0', () => {
  it('pays with plain-object headers and a raised limit', async () => {
    const { apiKey, privateKey, address } = await createBuyer();
    const answer = await run('x402-fetch', {
      apiKey,
      privateKey,
      amount: '10',
      options: { limit: '50000000' },
    });
    expect(answer).toMatchObject({
      status: 200,
      body: CREDITED,
      receipts: { 'x-payment-response': { success: true, network: 'base', payer: address.toLowerCase() } },
    });
    expect(answer.requests.map(request => request.status)).toEqual([402, 200]);
    expect(answer.requests[1]?.sentHeaders).toContain('x-payment');
    expect(await usdcBalance(address)).toBe(90_000_000n);
    expect(await balanceOf(gateway.app, apiKey)).toEqual({ balance: 1000, balance_usdc: '10.00' });
  });

  it('loses its key when it is given a Headers object, and nothing is settled', async () => {
    const { apiKey, privateKey, address } = await createBuyer();
    const options = { limit: '50000000', headersObject: true };
    const answer = await run('x402-fetch', { apiKey, privateKey, amount: '10', options });
    expect(answer).toMatchObject({ status: 401, body: 'invalid or missing API key' });
    expect(answer.requests.map(request => request.status)).toEqual([402, 401]);
    expect(await usdcBalance(address)).toBe(100_000_000n);
  });

  it('refuses more than ten cents by itself until its limit is raised', async () => {
    const { apiKey, privateKey, address } = await createBuyer();
    const answer = await run('x402-fetch', { apiKey, privateKey, amount: '10' });
    expect(answer.error?.message).toContain('exceeds maximum');
    expect(answer.requests.map(request => request.status)).toEqual([402]);
    expect((await run('x402-fetch', { apiKey, privateKey, amount: '0.10' })).status).toBe(200);
    expect(await usdcBalance(address)).toBe(99_900_000n);
  });
});

describe('x402-axios 0.7.2', () => {
  it('pays', async () => {
    const { apiKey, privateKey, address } = await createBuyer();
    const answer = await run('x402-axios', { apiKey, privateKey, amount: '10' });
    expect(answer).toMatchObject({
      status: 200,
      body: CREDITED,
      receipts: { 'x-payment-response': { success: true, network: 'base' } },
    });
    expect(await usdcBalance(address)).toBe(90_000_000n);
  });
});

describe('@x402/fetch 2.27.0', () => {
  it.each([
    ['the header, in version 2', false, 'payment-signature', 'payment-response', 'eip155:8453'],
    ['the body, in version 1, where the header is missing', true, 'x-payment', 'x-payment-response', 'base'],
  ])('pays the offer of %s', async (_, hideSecondOffer, header, receipt, network) => {
    const { apiKey, privateKey, address } = await createBuyer();
    const options = { limit: '$50', hideSecondOffer };
    const answer = await run('@x402/fetch', { apiKey, privateKey, amount: '10', options });
    const receipts = { [receipt]: { success: true, network } };
    expect(answer).toMatchObject({ status: 200, body: CREDITED, receipts });
    expect(answer.requests[1]?.sentHeaders).toContain(header);
    expect(await usdcBalance(address)).toBe(90_000_000n);
  });

  it('refuses more than a dollar by itself until its limit is raised', async () => {
    const { apiKey, privateKey, address } = await createBuyer();
    const answer = await run('@x402/fetch', { apiKey, privateKey, amount: '1.01' });
    expect(answer.error?.message).toMatch(/spend|limit|max/i);
    expect(answer.requests).toHaveLength(1);
    expect(await usdcBalance(address)).toBe(100_000_000n);
  });
});

describe('openai 6.49.0', () => {
  it('lists the models', async () => {
    const answer = await run('openai', { apiKey: await createKey(gateway) });
    expect(answer).toMatchObject({ models: [{ id: 'qwen3.5:9b', object: 'model', owned_by: 'dria' }] });
  });

  it('reads a refused key as its AuthenticationError', async () => {
    const answer = await run('openai', { apiKey: `dkn_live_${'x'.repeat(40)}` });
    expect(answer.error).toEqual({
      name: 'AuthenticationError',
      message: '401 invalid or missing API key',
      status: 401,
    });
  });

  it('reads an unknown path as its NotFoundError', async () => {
    const options = { baseUrl: `${origin}/v1/nothing` };
    const answer = await run('openai', { apiKey: await createKey(gateway), options });
    expect(answer.error).toMatchObject({ name: 'NotFoundError', message: '404 there is no such path' });
  });

  it('reads the rate limit as its RateLimitError', async () => {
    const limited = await startGateway({ replicaOf: gateway, settings: { RATE_LIMITS: 'on' } });
    const apiKey = await createKey(gateway);
    const headers = { authorization: `Bearer ${apiKey}` };
    for (let n = 0; n < 300; n += 1) await limited.app.inject({ url: '/v1/models', headers });
    await limited.app.listen({ host: '127.0.0.1', port: 0 });
    const answer = await run('openai', { apiKey, origin: originOf(limited.app) });
    expect(answer.error).toMatchObject({ name: 'RateLimitError', status: 429 });
    await limited.stop();
  });

  it('tries again after the time that a missing part asks for, then tells', async () => {
    const config = loadConfig('serve', { ...gateway.env, DATABASE_URL: 'postgres://127.0.0.1:1/none' });
    const log = createLog('silent');
    const services = createServices(config, { log, clock: systemClock });
    const app = await buildApp({ config, services, log, clock: systemClock });
    await app.listen({ host: '127.0.0.1', port: 0 });
    const order = { apiKey: `dkn_live_${'x'.repeat(40)}`, origin: originOf(app), options: { maxRetries: 1 } };
    const answer = await run('openai', order);
    expect(answer.error).toMatchObject({
      name: 'InternalServerError',
      status: 503,
      message: expect.stringMatching(/^503 the database is not available/),
    });
    expect(answer.requests.map(request => request.status)).toEqual([503, 503]);
    await app.close();
    await services.stop();
  });
});
