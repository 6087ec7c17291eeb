import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { SEPOLIA_DOMAIN, SEPOLIA_USDC } from '../dialects/dria/dria-gateway.ts';
import { readAnswers, runMppx } from '../support/mppx-cli.ts';
import { paymentJson, signPayment } from '../support/payment.ts';
import {
  callSandbox as call,
  openSandboxes,
  type Sandbox,
  type Sandboxes,
  type SandboxInfo,
  sandboxTempo,
} from '../support/sandbox.ts';
import { mppxClient, PATH_USD, pathUsdBalance, TEMPO_TESTNET } from '../support/tempo.ts';

const SEPOLIA = 'eip155:84532';

let sandboxes: Sandboxes;
let sandbox: Sandbox;

beforeAll(async () => {
  sandboxes = await openSandboxes();
  sandbox = await sandboxes.start('test-money');
});

afterAll(async () => {
  await sandboxes.stopAll();
  await sandboxes.remove();
});

const bearer = (apiKey: string) => ({ authorization: `Bearer ${apiKey}` });

async function makeKey(environment: string, balanceUsd?: string) {
  const answer = await call(sandbox, '/sandbox/v1/api-keys', {
    dialect: 'dria',
    environment,
    ...(balanceUsd !== undefined && { balanceUsd }),
  });
  expect(answer).toMatchObject({
    status: 200,
    body: { environment: 'test', apiKey: expect.stringMatching(/^dkn_test_[A-Za-z0-9]{40}$/) },
  });
  return answer.body['apiKey'] as unknown as string;
}

/** `POST /v1/credits/topup` as version 1 clients send it; the status of a text answer alone. */
async function topUp(apiKey: string, amount: string, payment?: string) {
  const answer = await fetch(`${sandbox.origin}/v1/credits/topup`, {
    method: 'POST',
    headers: { ...bearer(apiKey), ...(payment !== undefined && { 'x-payment': payment }) },
    body: JSON.stringify({ amount }),
  });
  const text = await answer.text();
  return { status: answer.status, body: text.startsWith('{') ? (JSON.parse(text) as object) : text };
}

async function balanceOf(apiKey: string): Promise<unknown> {
  const answer = await fetch(`${sandbox.origin}/v1/credits/balance`, { headers: bearer(apiKey) });
  return answer.status === 200 ? answer.json() : answer.status;
}

it('test money: funded, paid by keys of the test environment, read, and gone after a reset', async () => {
  const info = (await call(sandbox, '/sandbox/v1/info')).body as unknown as SandboxInfo;
  const sepolia = info.networks.find(({ network }) => network === SEPOLIA) ?? expect.unreachable();
  expect(sepolia.asset.toLowerCase()).toBe(SEPOLIA_USDC.toLowerCase());
  const payer = privateKeyToAccount(generatePrivateKey());
  const fund = { network: SEPOLIA, address: payer.address, amountUsd: '100' };
  expect(await call(sandbox, '/sandbox/v1/fund', fund)).toMatchObject({ status: 200 });

  const keys = [await makeKey('test'), await makeKey('staging', '1.50')];
  expect(await Promise.all(keys.map(balanceOf))).toEqual([
    { balance: 0, balance_usdc: '0.00' },
    { balance: 150, balance_usdc: '1.50' },
  ]);
  for (const [index, balance] of [1000, 1150].entries()) {
    const key = keys[index] ?? '';
    expect(await topUp(key, '10')).toMatchObject({
      status: 402,
      body: { accepts: [{ network: 'base-sepolia', extra: { name: 'USDC' }, payTo: expect.any(String) }] },
    });
    const payTo = sepolia.payTo as `0x${string}`;
    const payload = paymentJson(await signPayment(payer, payTo, 10_000_000n, { domain: SEPOLIA_DOMAIN }));
    const header = encodeBase64Json({ x402Version: 1, scheme: 'exact', network: 'base-sepolia', payload });
    expect(await topUp(key, '10', header)).toMatchObject({
      status: 200,
      body: { credits_added: 1000, balance },
    });
    expect(await balanceOf(key)).toMatchObject({ balance });
  }

  expect(await call(sandbox, '/sandbox/v1/reset', {})).toEqual({ status: 200, body: { reset: true } });
  // At once, also where the keys were remembered.
  expect(await Promise.all(keys.map(balanceOf))).toEqual([401, 401]);
  const fresh = await makeKey('test');
  expect(await balanceOf(fresh)).toEqual({ balance: 0, balance_usdc: '0.00' });
  expect(await call(sandbox, '/sandbox/v1/fund', fund)).toMatchObject({ status: 200 });
  expect((await topUp(fresh, '10')).status).toBe(402);
});

it('test money on Tempo: named, funded, paid by mppx and its command line, and gone after a reset', async () => {
  const tempo = await sandboxTempo(sandbox);
  expect(tempo.asset).toBe(PATH_USD);
  const key = generatePrivateKey();
  const payer = privateKeyToAccount(key);
  const fund = { network: TEMPO_TESTNET, address: payer.address, amountUsd: '100' };
  expect(await call(sandbox, '/sandbox/v1/fund', fund)).toEqual({
    status: 200,
    body: { transaction: expect.stringMatching(/^0x[0-9a-f]{64}$/) },
  });
  expect(await pathUsdBalance(tempo, payer.address)).toBe(100_000_000n);

  const subscribe = `${sandbox.origin}/agent/mpp/subscribe?plan=startup&payment_frequency=monthly`;
  const subscribed = await mppxClient(tempo, payer).fetch(subscribe);
  expect(subscribed.status).toBe(200);
  const { user_id: agentId } = (await subscribed.json()) as { user_id: string };
  const env = { MPPX_PRIVATE_KEY: key, MPPX_RPC_URL: tempo.rpcUrl };
  const command = await runMppx([`${sandbox.origin}/agent/mpp/subscription`, '-i'], env);
  const [asked, paid] = readAnswers(command.stdout);
  expect([command.code, asked?.status, paid?.status]).toEqual([0, 402, 200]);
  expect(JSON.parse(paid?.body ?? '')).toMatchObject({ user_id: agentId, credits_left: 125_000 });
  expect(await pathUsdBalance(tempo, tempo.payTo)).toBe(50_001_000n);

  expect(await call(sandbox, '/sandbox/v1/reset', {})).toEqual({ status: 200, body: { reset: true } });
  expect(await pathUsdBalance(tempo, payer.address)).toBe(0n);
  expect(await pathUsdBalance(tempo, tempo.payTo)).toBe(0n);
  expect(await call(sandbox, '/sandbox/v1/fund', fund)).toMatchObject({ status: 200 });
  const forgotten = await mppxClient(tempo, payer).fetch(`${sandbox.origin}/agent/mpp/subscription`);
  expect(forgotten.status).toBe(404);
  expect(await pathUsdBalance(tempo, payer.address)).toBe(100_000_000n);
});
