import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CLIENTS_FOLDER } from '../../../scripts/clients.ts';
import { startVeniceClient, type VeniceClientProcess } from '../../../scripts/venice-client.ts';
import { freePort } from '../../../src/local/free-port.ts';
import { mintUsdc, usdcBalance } from '../../support/chain.ts';
import { startGateway, type TestGateway } from '../../support/gateway.ts';

let gateway: TestGateway;
let apiUrl: string;
const clients = new Set<VeniceClientProcess>();

beforeAll(async () => {
  gateway = await startGateway({ settings: { SIWX_DOMAINS: '127.0.0.1' } });
  await gateway.app.listen({ host: '127.0.0.1', port: 0 });
  apiUrl = `http://127.0.0.1:${(gateway.app.server.address() as AddressInfo).port}`;
}, 300_000);

afterEach(async () => {
  for (const client of clients) await client.stop();
  clients.clear();
});

afterAll(async () => {
  await gateway.stop();
});

async function createWallet(usd: bigint) {
  const privateKey = generatePrivateKey();
  const { address } = privateKeyToAccount(privateKey);
  if (usd > 0n) await mintUsdc(address, usd * 1_000_000n);
  return { privateKey, address };
}

function startClient(privateKey: string): VeniceClientProcess {
  const client = startVeniceClient({ apiUrl, privateKey });
  clients.add(client);
  return client;
}

const payWithX402Fetch = (request: object) => runClient('x402-fetch-process.mjs', request);
const readWithSignIn = (request: object) => runClient('siwx-process.mjs', request);

async function runClient(script: string, request: object): Promise<Record<string, unknown>> {
  const child = spawn(process.execPath, [path.join(CLIENTS_FOLDER, script)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.write(`${JSON.stringify(request)}\n`);
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  child.kill();
  return JSON.parse(line) as Record<string, unknown>;
}

describe('venice-x402-client 0.2.0', () => {
  it('tops up, and knows its new balance', async () => {
    const wallet = await createWallet(100n);
    const client = startClient(wallet.privateKey);
    const { exchanges } = await client.call('topUp', 10);
    expect(exchanges.map(exchange => exchange.status)).toEqual([402, 200]);
    expect(exchanges[1]?.sentHeaders).toContain('x-402-payment');
    expect(exchanges[1]?.paymentResponse).toMatchObject({ success: true, network: 'eip155:8453' });
    expect(client.balance()).toBe(10);
    expect(await usdcBalance(wallet.address)).toBe(90_000_000n);
  });

  it('refuses less than the minimum by itself', async () => {
    const wallet = await createWallet(100n);
    const client = startClient(wallet.privateKey);
    await expect(client.call('topUp', 4)).rejects.toMatchObject({ code: 'INVALID_AMOUNT' });
    expect(await usdcBalance(wallet.address)).toBe(100_000_000n);
  });

  it('reads balance and transactions with a fresh proof each', async () => {
    const wallet = await createWallet(100n);
    const client = startClient(wallet.privateKey);
    await client.call('topUp', 12.5);
    const balance = await client.call('getBalance');
    expect(balance.result).toMatchObject({ balanceUsd: 12.5, canConsume: true, minimumTopUpUsd: 5 });
    const ledger = await client.call('getTransactions', { limit: 5, offset: 0 });
    expect(ledger.result).toMatchObject({
      currentBalance: 12.5,
      transactions: [{ type: 'TOP_UP', amount: 12.5, balanceAfter: 12.5, requestId: null, modelId: null }],
      pagination: { limit: 5, offset: 0, hasMore: false },
    });
  });

  it('reads zero for a wallet that never paid', async () => {
    const client = startClient((await createWallet(0n)).privateKey);
    expect((await client.call('getBalance')).result).toMatchObject({ balanceUsd: 0, canConsume: false });
  });

  it('reports a wallet without money in the gateway’s words', async () => {
    const client = startClient((await createWallet(1n)).privateKey);
    await expect(client.call('topUp', 10)).rejects.toMatchObject({
      code: 'TOP_UP_FAILED',
      message: expect.stringContaining('PAYMENT_VERIFICATION_FAILED'),
    });
  });

  it('may not read another wallet', async () => {
    const client = startClient((await createWallet(0n)).privateKey);
    const other = (await createWallet(0n)).address;
    const call = client.call('requestRaw', `/api/v1/x402/balance/${other}`);
    await expect(call).rejects.toMatchObject({ details: { status: 403 } });
  });
});

describe('@x402/fetch 2.27.0', () => {
  it('pays the minimum once its spending limit is raised', async () => {
    const wallet = await createWallet(100n);
    const url = `${apiUrl}/api/v1/x402/top-up`;
    const answer = await payWithX402Fetch({ url, privateKey: wallet.privateKey, maxAmountPerPayment: '$10' });
    expect(answer).toMatchObject({
      status: 200,
      body: { data: { amountCredited: 5, newBalance: 5 } },
      receipt: { success: true, network: 'eip155:8453', payer: wallet.address.toLowerCase() },
    });
    expect(await usdcBalance(wallet.address)).toBe(95_000_000n);
  });

  it('pays by Permit2 with a signed allowance, where that is offered', async () => {
    const permit2 = await startGateway({ replicaOf: gateway, settings: { PERMIT2: 'sponsored' } });
    await permit2.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = permit2.app.server.address() as AddressInfo;
    const wallet = await createWallet(100n);
    const request = {
      url: `http://127.0.0.1:${port}/api/v1/x402/top-up`,
      privateKey: wallet.privateKey,
      maxAmountPerPayment: '$10',
      permit2RpcUrl: gateway.env['BASE_RPC_URL'],
    };
    for (const newBalance of [5, 10]) {
      expect(await payWithX402Fetch(request)).toMatchObject({ status: 200, body: { data: { newBalance } } });
    }
    const { rows } = await permit2.sql.query(
      "SELECT signed->>'kind' AS kind, signed->'permit' ? 'allowance' AS sponsored FROM cell_0.payment WHERE payer = $1",
      [wallet.address.toLowerCase()],
    );
    expect(rows).toEqual([
      { kind: 'permit2', sponsored: true },
      { kind: 'permit2', sponsored: true },
    ]);
    expect(await usdcBalance(wallet.address)).toBe(90_000_000n);
    await permit2.stop();
  });

  it('refuses more than a dollar by itself until then', async () => {
    const wallet = await createWallet(100n);
    const answer = await payWithX402Fetch({
      url: `${apiUrl}/api/v1/x402/top-up`,
      privateKey: wallet.privateKey,
    });
    expect(answer['error']).toMatch(/spend|amount|limit|max/i);
    expect(await usdcBalance(wallet.address)).toBe(100_000_000n);
  });
});

describe('@x402/fetch 2.27.0 with the sign-in extension of @x402/extensions', () => {
  const url = () => `${ownOrigin}/api/v1/x402/balance/{wallet}`;
  const signedIn = [
    { status: 402, sentHeaders: [] },
    { status: 200, sentHeaders: ['sign-in-with-x'] },
  ];
  let signingGateway: TestGateway;
  let ownOrigin: string;

  // This client signs only for the origin that answers, so the gateway has to know its own.
  beforeAll(async () => {
    const port = await freePort();
    ownOrigin = `http://127.0.0.1:${port}`;
    signingGateway = await startGateway({ settings: { PUBLIC_ORIGIN: ownOrigin } });
    await signingGateway.app.listen({ host: '127.0.0.1', port });
  });

  afterAll(async () => {
    await signingGateway?.stop();
  });

  it('answers the challenge with an EVM key', async () => {
    const { privateKey, address } = await createWallet(0n);
    const answer = await readWithSignIn({ url: url(), privateKey });
    expect(answer).toMatchObject({
      status: 200,
      body: { success: true, data: { walletAddress: address.toLowerCase(), balanceUsd: 0 } },
      requests: signedIn,
    });
  });

  it('answers the challenge with a Solana key', async () => {
    const answer = await readWithSignIn({ url: url(), seed: randomBytes(32).toString('hex') });
    expect(answer).toMatchObject({
      status: 200,
      body: { success: true, data: { walletAddress: answer['address'], balanceUsd: 0 } },
      requests: signedIn,
    });
  });

  it('does not sign for a gateway that says it is somewhere else', async () => {
    const { privateKey } = await createWallet(0n);
    const elsewhere = `${apiUrl}/api/v1/x402/balance/{wallet}`;
    const answer = await readWithSignIn({ url: elsewhere, privateKey });
    expect(answer).toMatchObject({ error: expect.any(String), requests: [{ status: 402 }] });
  });
});

describe('one captured proof of venice-x402-client', () => {
  it('is good once', async () => {
    const { privateKey, address } = await createWallet(0n);
    const proof = await captureProof(privateKey);
    const read = () =>
      gateway.app.inject({
        url: `/api/v1/x402/balance/${address}`,
        headers: { 'x-sign-in-with-x': proof },
      });
    expect((await read()).statusCode).toBe(200);
    expect((await read()).statusCode).toBe(401);
  });
});

/** The proof of a call that reaches nobody but us. */
async function captureProof(privateKey: string): Promise<string> {
  let proof = '';
  const trap = createServer((request, response) => {
    proof = String(request.headers['x-sign-in-with-x']);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end('{"success":true,"data":{"balanceUsd":0}}');
  });
  await new Promise<void>(resolve => {
    trap.listen(0, '127.0.0.1', resolve);
  });
  const client = startVeniceClient({
    apiUrl: `http://127.0.0.1:${(trap.address() as AddressInfo).port}`,
    privateKey,
  });
  clients.add(client);
  await client.call('getBalance');
  trap.closeAllConnections();
  trap.close();
  return proof;
}

describe('curl', () => {
  it.each([
    ['nothing', []],
    ['a JSON type and an empty body', ['-H', 'Content-Type: application/json', '-d', '']],
    ['a JSON body', ['-H', 'Content-Type: application/json', '-d', '{"walletAddress":"0x1","amountUsd":10}']],
    ['a broken JSON body', ['-H', 'Content-Type: application/json', '-d', '{']],
  ])('gets the same price list when it sends %s', async (_name, args) => {
    const format = ['-s', '-X', 'POST', '-w', '\n%{http_code}'];
    const { stdout } = await promisify(execFile)('curl', [
      ...format,
      ...args,
      `${apiUrl}/api/v1/x402/top-up`,
    ]);
    const [body = '', status] = stdout.split('\n');
    const expected = await fetch(`${apiUrl}/api/v1/x402/top-up`, { method: 'POST' });
    expect([status, body]).toEqual(['402', await expected.text()]);
  });
});
