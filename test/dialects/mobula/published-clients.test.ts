import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { getBase58Encoder } from '@solana/kit';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLIENTS_FOLDER } from '../../../scripts/clients.ts';
import { freePort } from '../../../src/local/free-port.ts';
import { mintUsdc, usdcBalance } from '../../support/chain.ts';
import { SOLANA_MAINNET } from '../../support/solana.ts';
import { type SolanaGateway, startSolanaGateway } from '../../support/solana-gateway.ts';
import { newSvmKey } from '../../support/svm-key.ts';

let gateway: SolanaGateway;
let origin: string;

beforeAll(async () => {
  // The command line pays at the address that the offer names.
  const port = await freePort();
  origin = `http://127.0.0.1:${port}`;
  gateway = await startSolanaGateway({ settings: { PUBLIC_ORIGIN: origin } });
  await gateway.app.listen({ host: '127.0.0.1', port });
}, 300_000);
afterAll(async () => {
  await gateway?.stop();
});

interface Result {
  statuses: number[];
  body: Record<string, unknown>;
  offered: string[];
  receipt: unknown;
  schemaProblems: unknown[];
  error?: string;
}

/** Makes calls one after another in a process of its own, with the clients' own packages. */
async function run(
  client: string,
  privateKey: string,
  calls: readonly { route: string; method?: 'GET' | 'DELETE' }[],
): Promise<Result[]> {
  const child = spawn(process.execPath, [path.join(CLIENTS_FOLDER, 'mobula-process.mjs')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const order = {
    client,
    privateKey,
    solanaRpcUrl: gateway.chain.rpcUrl,
    calls: calls.map(({ route, method }) => ({ url: `${origin}/agent/x402${route}`, method })),
  };
  child.stdin.write(`${JSON.stringify(order)}\n`);
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  child.kill();
  return JSON.parse(line) as Result[];
}

async function evmWallet() {
  const privateKey = generatePrivateKey();
  const { address } = privateKeyToAccount(privateKey);
  await mintUsdc(address, 1_000_000_000n);
  return { privateKey, address };
}

async function svmWallet() {
  const { address, secret } = newSvmKey();
  await gateway.chain.airdrop(address, 100_000_000n);
  await gateway.chain.mint(address, 1_000_000_000n);
  const seed = getBase58Encoder().encode(secret).subarray(0, 32);
  return { privateKey: Buffer.from(seed).toString('hex'), address };
}

const SUBSCRIBE = { route: '/subscribe?plan=startup&payment_frequency=monthly' };
const STATUS = { route: '/subscription' };

/** The published top-up script: status, then the top-up. */
async function topUpScript(client: string, privateKey: string): Promise<Result[]> {
  const [subscribed] = await run(client, privateKey, [SUBSCRIBE]);
  const agent = String(subscribed?.body['user_id']);
  const rest = await run(client, privateKey, [STATUS, { route: `/top-up?agent_id=${agent}&amount_usd=20` }]);
  return [subscribed as Result, ...rest];
}

describe.each(['2.22.0', '2.27.0'])('@x402 %s', version => {
  it.each(['evm', 'svm'])('subscribes and tops up with a wallet of kind %s', async kind => {
    const { privateKey, address } = kind === 'evm' ? await evmWallet() : await svmWallet();
    const [subscribed, status, topup] = await topUpScript(`${version} ${kind}`, privateKey);
    expect(subscribed).toMatchObject({
      statuses: [402, 200],
      offered: ['eip155:8453', SOLANA_MAINNET],
      schemaProblems: [],
      receipt: { success: true },
    });
    expect(status).toMatchObject({
      statuses: [402, 200],
      body: { plan_active: true, left_days: 30, credits_left: 125_000 },
    });
    expect(topup).toMatchObject({
      statuses: [402, 200],
      body: { credits_added: 50_000, new_credits_limit: 175_000 },
      schemaProblems: [],
      receipt: { success: true, payer: kind === 'evm' ? address.toLowerCase() : address },
    });
  });
});

describe('@x402 2.27.0', () => {
  it('makes a key and revokes one', async () => {
    const { privateKey } = await evmWallet();
    const [subscribed, created] = await run('2.27.0 evm', privateKey, [
      SUBSCRIBE,
      { route: '/api-keys/create' },
    ]);
    expect(created).toMatchObject({ statuses: [402, 200], schemaProblems: [] });
    const revoked = String(subscribed?.body['api_key']);
    const [deleted, status] = await run('2.27.0 evm', privateKey, [
      { route: `/api-keys/revoke?api_key=${revoked}`, method: 'DELETE' },
      STATUS,
    ]);
    expect(deleted).toMatchObject({ statuses: [402, 200], body: { deleted: true } });
    expect(status?.body).toMatchObject({ api_keys: [created?.body['api_key']] });
  });

  it('learns that a wallet has no agent, and has paid nothing', async () => {
    const { privateKey, address } = await evmWallet();
    const [status] = await run('2.22.0 evm', privateKey, [STATUS]);
    expect(status?.statuses).toEqual([402, 404]);
    expect(await usdcBalance(address)).toBe(1_000_000_000n);
  });
});

describe('mppx 0.11.0', () => {
  it('pays by x402 from its command line, a revocation by DELETE too', async () => {
    const { privateKey } = await evmWallet();
    const [subscribed] = await run('2.27.0 evm', privateKey, [SUBSCRIBE]);
    const { user_id: agent, api_key: apiKey } = subscribed?.body ?? {};
    const cli = path.join(CLIENTS_FOLDER, 'node_modules/mppx/dist/bin.js');
    const env = { ...process.env, MPPX_PRIVATE_KEY: privateKey };
    const pay = async (route: string, ...more: string[]) => {
      const args = [cli, `${origin}/agent/x402${route}`, '--protocol', 'x402', '-i', ...more];
      const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { env });
      return `${stdout}${stderr}`;
    };
    expect(await pay(`/top-up?agent_id=${String(agent)}&amount_usd=20`)).toContain('175000');
    expect(await pay(`/api-keys/revoke?api_key=${String(apiKey)}`, '-X', 'DELETE')).toMatch(/deleted/);
  });
});
