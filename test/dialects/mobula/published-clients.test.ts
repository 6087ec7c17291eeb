import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { getBase58Encoder } from '@solana/kit';
import type { PaymentRequirements } from '@x402/core/types';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLIENTS_FOLDER } from '../../../scripts/clients.ts';
import { decodeBase64Json, encodeBase64Json } from '../../../src/lib/base64.ts';
import { freePort } from '../../../src/local/free-port.ts';
import { mintUsdc, usdcBalance } from '../../support/chain.ts';
import { expectPublishedShape } from '../../support/mobula-schemas.ts';
import { readAnswers, runMppx } from '../../support/mppx-cli.ts';
import { fundedSolanaWallet, SOLANA_MAINNET, signSolanaPayment } from '../../support/solana.ts';
import { type SolanaGateway, startSolanaGateway } from '../../support/solana-gateway.ts';
import { newSvmKey } from '../../support/svm-key.ts';

let gateway: SolanaGateway;
let origin: string;
let clients: ChildProcess;
let answers: AsyncIterator<string>;

beforeAll(async () => {
  // The command line pays at the address that the offer names.
  const port = await freePort();
  origin = `http://127.0.0.1:${port}`;
  clients = spawn(process.execPath, [path.join(CLIENTS_FOLDER, 'mobula-process.mjs')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  if (!clients.stdout) throw new Error('the clients have no output');
  answers = createInterface(clients.stdout)[Symbol.asyncIterator]();
  gateway = await startSolanaGateway({ settings: { PUBLIC_ORIGIN: origin } });
  await gateway.app.listen({ host: '127.0.0.1', port });
}, 300_000);
afterAll(async () => {
  clients?.kill();
  await gateway?.stop();
});

interface Result {
  statuses: number[];
  body: Record<string, unknown>;
  offered: string[];
  receipt: unknown;
  error?: string;
}

/** Gives the process of the published clients one order. @returns its answer */
async function order(client: string, privateKey: string, what: object): Promise<unknown> {
  const text = JSON.stringify({ client, privateKey, solanaRpcUrl: gateway.chain.rpcUrl, ...what });
  clients.stdin?.write(`${text}\n`);
  const { value } = await answers.next();
  return JSON.parse(String(value));
}

/** Makes calls one after another, with the clients' own packages. */
async function run(
  client: string,
  privateKey: string,
  calls: readonly { route: string; method?: 'GET' | 'DELETE' }[],
): Promise<Result[]> {
  const list = calls.map(({ route, method }) => ({ url: `${origin}/agent/x402${route}`, method }));
  const results = (await order(client, privateKey, { calls: list })) as Result[];
  for (const [index, { error, statuses, body }] of results.entries()) {
    expect(error).toBeUndefined();
    expectPublishedShape('x402', calls[index]?.route ?? '', { status: statuses.at(-1) ?? 0, body });
  }
  return results;
}

/** What the published top-up script comes to: status, then the top-up. */
async function topUpScript(client: string, privateKey: string, agentId: unknown) {
  const topUp = { apiUrl: origin, agentId, amountUsd: '20' };
  return (await order(client, privateKey, { topUp })) as { exitCode: number; lines: string[] };
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

describe.each(['2.22.0', '2.27.0'])('the published top-up script with @x402 %s', version => {
  it.each(['evm', 'svm'])('runs to its end with a wallet of kind %s that has subscribed', async kind => {
    const { privateKey, address } = kind === 'evm' ? await evmWallet() : await svmWallet();
    const client = `${version} ${kind}`;
    const [subscribed] = await run(client, privateKey, [SUBSCRIBE]);
    expect(subscribed).toMatchObject({
      statuses: [402, 200],
      offered: ['eip155:8453', SOLANA_MAINNET],
      receipt: { success: true, payer: kind === 'evm' ? address.toLowerCase() : address },
    });
    expect(await topUpScript(client, privateKey, subscribed?.body['user_id'])).toEqual({
      exitCode: 0,
      lines: [
        '[1] the status costs $0.001',
        '[2] plan startup, 30 days and 125000 credits left',
        '[3] the plan is active',
        '[4] the top-up costs $20',
        '[5] credits added: 50000, new limit: 175000',
      ],
    });
  });
});

describe('the published top-up script', () => {
  it('tells a wallet without an agent to subscribe first, which has paid nothing', async () => {
    const { privateKey, address } = await evmWallet();
    expect(await topUpScript('2.22.0 evm', privateKey, 'agt_none')).toEqual({
      exitCode: 1,
      lines: ['[1] the status costs $0.001', '[2] no agent for this wallet: subscribe first'],
    });
    expect(await usdcBalance(address)).toBe(1_000_000_000n);
  });

  it('stops at a plan that is over', async () => {
    const { privateKey, address } = await evmWallet();
    const [subscribed] = await run('2.22.0 evm', privateKey, [SUBSCRIBE]);
    // Clients have the time of this machine, so it is the plan that is moved and not the clock.
    await gateway.sql.query(
      `UPDATE cell_0.plan_period s SET starts_at = s.starts_at - p.month, ends_at = s.ends_at - p.month,
         due_at = s.due_at - p.month
       FROM (SELECT payment_id, interval '31 days' AS month FROM cell_0.payment WHERE payer = $1) p
       WHERE p.payment_id = s.payment_id`,
      [address.toLowerCase()],
    );
    expect(await topUpScript('2.22.0 evm', privateKey, subscribed?.body['user_id'])).toEqual({
      exitCode: 1,
      lines: [
        '[1] the status costs $0.001',
        '[2] plan startup, 0 days and 0 credits left',
        '[3] no active plan: renew first',
      ],
    });
    const [status] = await run('2.22.0 evm', privateKey, [STATUS]);
    expect(status).toMatchObject({ statuses: [402, 200], body: { plan_active: false, left_days: 0 } });
  });
});

/** Whether a key opens a route that needs one, in each of the ways to present it. */
function statusesOf(apiKey: string): Promise<number[]> {
  const ways = [{ authorization: apiKey }, { authorization: `Bearer ${apiKey}` }, { 'x-api-key': apiKey }];
  return Promise.all(
    ways.map(async headers => (await fetch(`${origin}/api/2/auth/tokens`, { headers })).status),
  );
}

describe('@x402 2.27.0', () => {
  it('makes a key and revokes one, which then opens nothing', async () => {
    const { privateKey } = await evmWallet();
    const [subscribed, created] = await run('2.27.0 evm', privateKey, [
      SUBSCRIBE,
      { route: '/api-keys/create' },
    ]);
    expect(created).toMatchObject({ statuses: [402, 200] });
    const revoked = String(subscribed?.body['api_key']);
    const kept = String(created?.body['api_key']);
    expect(await statusesOf(revoked)).toEqual([200, 200, 200]);
    const [deleted, status] = await run('2.27.0 evm', privateKey, [
      { route: `/api-keys/revoke?api_key=${revoked}`, method: 'DELETE' },
      STATUS,
    ]);
    expect(deleted).toMatchObject({ statuses: [402, 200], body: { deleted: true } });
    expect(status?.body).toMatchObject({ api_keys: [kept] });
    expect(await statusesOf(revoked)).toEqual([401, 401, 401]);
    expect(await statusesOf(kept)).toEqual([200, 200, 200]);
  });
});

describe('a payment of version 1 on Solana', () => {
  it('is taken and answered in its own header', async () => {
    const wallet = await fundedSolanaWallet(gateway.chain, 100_000_000n);
    const url = `/agent/x402${SUBSCRIBE.route}`;
    const { accepts } = (await gateway.app.inject({ url })).json<{ accepts: PaymentRequirements[] }>();
    const offer = accepts.find(({ network }) => network === SOLANA_MAINNET) ?? expect.unreachable();
    const { payload } = await signSolanaPayment(gateway.chain, wallet, offer);
    const header = encodeBase64Json({ x402Version: 1, scheme: 'exact', network: 'solana', payload });
    const answer = await gateway.app.inject({ url, headers: { 'x-payment': header } });
    expect([answer.statusCode, answer.json()]).toMatchObject([200, { api_key: expect.any(String) }]);
    expect(answer.headers['payment-response']).toBeUndefined();
    expect(decodeBase64Json(String(answer.headers['x-payment-response']))).toMatchObject({
      success: true,
      network: 'solana',
      payer: wallet.address,
    });
  });
});

describe('mppx 0.11.0', () => {
  it('pays by x402 from its command line, a revocation by DELETE too', async () => {
    const { privateKey, address } = await evmWallet();
    const [subscribed] = await run('2.27.0 evm', privateKey, [SUBSCRIBE]);
    const { user_id: agent, api_key: apiKey } = subscribed?.body ?? {};
    const pay = async (route: string, ...more: string[]) => {
      const args = [`${origin}/agent/x402${route}`, '--protocol', 'x402', '-i', ...more];
      const { code, stdout } = await runMppx(args, { MPPX_PRIVATE_KEY: privateKey });
      const [asked, paid] = readAnswers(stdout);
      expect([code, asked?.status, paid?.status]).toEqual([0, 402, 200]);
      expect(decodeBase64Json(paid?.headers.get('payment-response') ?? '')).toMatchObject({
        success: true,
        network: 'eip155:8453',
        payer: address.toLowerCase(),
      });
      return JSON.parse(paid?.body ?? '') as unknown;
    };
    expect(
      await Promise.all([
        pay(`/top-up?agent_id=${String(agent)}&amount_usd=20`),
        pay(`/api-keys/revoke?api_key=${String(apiKey)}`, '-X', 'DELETE'),
      ]),
    ).toEqual([{ credits_added: 50_000, new_credits_limit: 175_000 }, { deleted: true }]);
  });
});
