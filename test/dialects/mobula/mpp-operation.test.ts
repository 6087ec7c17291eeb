import path from 'node:path';
import { Challenge } from 'mppx';
import { encodeFunctionData } from 'viem';
import { Abis } from 'viem/tempo';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLIENTS_FOLDER } from '../../../scripts/clients.ts';
import { TEMPO_NETWORKS } from '../../../src/chains/tempo-networks.ts';
import { decodeBase64Json } from '../../../src/lib/base64.ts';
import { judge } from '../../../src/topups/reconciliation.ts';
import { runCommand } from '../../support/cli.ts';
import { startGateway } from '../../support/gateway.ts';
import { runMppx } from '../../support/mppx-cli.ts';
import {
  challengeOf,
  createTempoPayer,
  fetchPaid,
  PATH_USD,
  pushCredential,
  pushTransfer,
  sendCredential,
  sendTempoTransaction,
  startTempoGateway,
  TEMPO_TESTNET,
  type TempoGateway,
} from '../../support/tempo.ts';

const SUBSCRIBE = '/subscribe?plan=startup&payment_frequency=monthly';
let gateway: TempoGateway;

beforeAll(async () => {
  gateway = await startTempoGateway();
}, 60_000);
afterAll(async () => {
  await gateway?.stop();
});

async function reconcile() {
  const report = await gateway.services.reconcile();
  const tempo = report.networks.find(({ network }) => network === TEMPO_TESTNET);
  expect(tempo).toMatchObject({ problem: undefined });
  return report;
}

describe('the comparison of Tempo with the books', () => {
  it('finds no gap in payments by both modes, and money that was never presented', async () => {
    const payer = await createTempoPayer(gateway.chain);
    await fetchPaid(gateway, payer, SUBSCRIBE);
    await fetchPaid(gateway, payer, '/subscription', 'push');
    expect(judge(await reconcile())).toBe('in_order');

    const challenge = await challengeOf(gateway, SUBSCRIBE);
    const transfer = { payer, challenge, to: gateway.tempoPayTo, amountBaseUnits: 50_000_000n };
    const hash = await pushTransfer(gateway.chain, transfer);
    const args = [gateway.tempoPayTo, 7n] as const;
    const plain = encodeFunctionData({ abi: Abis.tip20, functionName: 'transfer', args });
    const gift = await sendTempoTransaction(gateway.chain, payer, plain);
    const found = await reconcile();
    expect(judge(found)).toBe('gap');
    expect(found.suspense).toMatchObject([
      { network: TEMPO_TESTNET, transaction: hash, amountBaseUnits: 50_000_000n },
      { transaction: gift.hash, amountBaseUnits: 7n },
    ]);

    // The client comes back with it after all.
    const credential = pushCredential(challenge, hash, payer.address);
    expect(await sendCredential(gateway, SUBSCRIBE, credential)).toMatchObject({ status: 200 });
    expect((await reconcile()).suspense).toMatchObject([{ transaction: gift.hash }]);
  });
});

describe('Tempo mainnet', () => {
  it('is mppx’s own chain and token, and a challenge asks for live money in it', async () => {
    const file = path.resolve(
      import.meta.dirname,
      '../../../node_modules/mppx/dist/tempo/internal/defaults.js',
    );
    const defaults = (await import(file)) as {
      chainId: Record<string, number>;
      currency: Record<number, string>;
    };
    const ours = TEMPO_NETWORKS.map(({ chainId, usdc }) => [chainId, usdc.address]);
    const theirs = [defaults.chainId['mainnet'], defaults.chainId['testnet']].map(chainId => [
      chainId,
      defaults.currency[chainId ?? 0]?.toLowerCase(),
    ]);
    expect(ours).toEqual(theirs);
    const live = await startGateway({
      replicaOf: gateway,
      settings: { NETWORKS: 'eip155:8453,eip155:4217', TEMPO_RPC_URL: 'http://127.0.0.1:9' },
    });
    expect(live.services.mpp).toMatchObject({ environment: 'live', network: 'eip155:4217' });
    const answer = await live.app.inject({ url: '/agent/mpp/subscription' });
    const challenge = Challenge.deserialize(String(answer.headers['www-authenticate']));
    expect(challenge.request).toMatchObject({
      currency: '0x20c000000000000000000000b9537d11c60e8b50',
      methodDetails: { chainId: 4217 },
    });
    await live.stop();
  });
});

describe('readiness', () => {
  it('names the Tempo node, and what is wrong with it', async () => {
    const names = gateway.services.readiness.map(({ name }) => name);
    expect(names).toContain('Tempo testnet node');
    const good = gateway.services.readiness.find(({ name }) => name === 'Tempo testnet node');
    expect(await good?.run()).toEqual([]);
    const down = await startGateway({
      replicaOf: gateway,
      settings: { TEMPO_RPC_URL: 'http://127.0.0.1:9' },
    });
    const node = down.services.readiness.find(({ name }) => name === 'Tempo testnet node');
    expect(await node?.run()).toEqual(['TEMPO_RPC_URL does not answer']);
    const ready = await down.app.inject({ url: '/readyz' });
    expect(ready.statusCode).toBe(503);
    expect(ready.payload).toContain('TEMPO_RPC_URL does not answer');
    await down.stop();
    const wrong = await startGateway({
      replicaOf: gateway,
      settings: { TEMPO_RPC_URL: gateway.env['BASE_RPC_URL'] ?? '' },
    });
    const other = wrong.services.readiness.find(({ name }) => name === 'Tempo testnet node');
    expect(await other?.run()).toEqual(['TEMPO_RPC_URL serves chain 8453, but Tempo testnet is chain 42431']);
    await wrong.stop();
  });

  it('is what the doctor tells, too', async () => {
    const checksOf = async (settings: Record<string, string>) => {
      const env = { ...gateway.env, ...settings };
      const { code, output } = await runCommand({ env }, ['doctor', '--json']);
      const { checks } = output as { checks: { name: string; problems: string[] }[] };
      const aboutTempo = checks.filter(({ name }) => name.startsWith('Tempo testnet'));
      return { code, aboutTempo: aboutTempo.map(({ name, problems }) => [name, problems]) };
    };
    const [good, down, wrong] = await Promise.all([
      checksOf({}),
      checksOf({ TEMPO_RPC_URL: 'http://127.0.0.1:9' }),
      checksOf({ TEMPO_RPC_URL: gateway.env['BASE_RPC_URL'] ?? '' }),
    ]);
    const report = (code: number, problems: string[]) => ({
      code,
      aboutTempo: [
        ['Tempo testnet node', problems],
        ['Tempo testnet gas', []],
      ],
    });
    expect(good).toEqual(report(0, []));
    expect(down).toEqual(report(1, ['TEMPO_RPC_URL does not answer']));
    const problem = 'TEMPO_RPC_URL serves chain 8453, but Tempo testnet is chain 42431';
    expect(wrong).toEqual(report(1, [problem]));
  });
});

describe('discovery', () => {
  it('is a document that mppx finds valid', async () => {
    const { origin } = gateway;
    const { code, stdout } = await runMppx(['discover', 'validate', `${origin}/openapi.json`]);
    expect([code, stdout.trim()]).toEqual([0, 'Discovery document is valid.']);
    const document = (await (await fetch(`${origin}/openapi.json`)).json()) as {
      paths: Record<string, { get: { 'x-payment-info': unknown } }>;
    };
    expect(document.paths['/agent/mpp/subscription']?.get['x-payment-info']).toMatchObject({
      offers: [{ intent: 'charge', method: 'tempo', amount: '1000', currency: PATH_USD }],
    });
    expect(document.paths['/agent/mpp/top-up']?.get['x-payment-info']).toMatchObject({
      offers: [{ amount: null }],
    });
  });

  it('names what is sold, and everything that it names answers an offer', async () => {
    const { origin } = gateway;
    const sold = (await (await fetch(`${origin}/.well-known/x402`)).json()) as { resources: string[] };
    expect(sold.resources.map(url => new URL(url).pathname)).toEqual([
      '/api/v1/x402/top-up',
      '/agent/x402/subscription',
      '/agent/x402/subscribe',
      '/agent/x402/top-up',
      '/agent/x402/api-keys/create',
      '/agent/x402/api-keys/revoke',
    ]);
    for (const url of sold.resources) {
      const { pathname, search } = new URL(url);
      const method = pathname.startsWith('/agent/') ? 'GET' : 'POST';
      const response = await fetch(`${origin}${pathname}${search}`, { method });
      expect([url, response.status]).toEqual([url, 402]);
      const offer = decodeBase64Json(response.headers.get('payment-required') ?? '') as {
        accepts: unknown[];
      };
      expect(offer.accepts.length).toBeGreaterThan(0);
    }
    const text = await (await fetch(`${origin}/llms.txt`)).text();
    expect(text).toContain('GET http://127.0.0.1:4020/agent/mpp/subscription');
    expect(text).toContain('POST http://127.0.0.1:4020/api/v1/x402/top-up');
    const lines = [...text.matchAll(/^- (GET|POST|DELETE) http:\/\/127\.0\.0\.1:4020(\S+): .* \((.*)\)$/gm)];
    expect(lines).toHaveLength(15);
    for (const [line, method, route, protocol] of lines) {
      const response = await fetch(`${origin}${route}`, { method: method ?? '' });
      expect([line, response.status]).toEqual([line, protocol?.endsWith('with an API key') ? 401 : 402]);
    }
  });
});

describe('discovery without a way to pay by x402', () => {
  it('names nothing that is sold by it', async () => {
    const replica = await startGateway({ replicaOf: gateway, settings: { NETWORKS: TEMPO_TESTNET } });
    const sold = await replica.app.inject({ url: '/.well-known/x402' });
    expect(sold.json()).toEqual({ version: 1, resources: [] });
    const text = (await replica.app.inject({ url: '/llms.txt' })).payload;
    expect(text).toContain('/agent/mpp/subscription');
    expect(text).not.toContain('(x402');
    await replica.stop();
  });
});

describe('both rails over HTTP', () => {
  const RAILS = ['/agent/x402', '/agent/mpp'];

  it.each(RAILS)('are open to pages in browsers: %s', async rail => {
    const preflight = await gateway.app.inject({
      method: 'OPTIONS',
      url: `${rail}/api-keys/revoke?api_key=x`,
      headers: { origin: 'https://app.example', 'access-control-request-method': 'DELETE' },
    });
    expect([preflight.statusCode, preflight.headers['access-control-allow-origin']]).toEqual([204, '*']);
    const allowed = String(preflight.headers['access-control-allow-headers']).split(', ');
    expect(allowed).toEqual(expect.arrayContaining(['authorization', 'x-payment', 'payment-signature']));
    expect(preflight.headers['access-control-allow-methods']).toContain('DELETE');
    const offer = await gateway.app.inject({ url: `${rail}/subscription` });
    expect([offer.statusCode, offer.headers['cache-control']]).toEqual([402, 'no-store']);
    expect(offer.headers['access-control-allow-origin']).toBe('*');
    const exposed = String(offer.headers['access-control-expose-headers']).split(', ');
    const receipts = ['PAYMENT-REQUIRED', 'PAYMENT-RESPONSE', 'WWW-Authenticate', 'Payment-Receipt'];
    expect(exposed).toEqual(expect.arrayContaining(receipts));
  });

  it('refuse two payments in one request, and what is none', async () => {
    for (const headers of [
      { 'payment-signature': 'e30=', 'x-payment': 'e30' },
      { 'payment-signature': 'e30=, e30=' },
      { 'payment-signature': 'nonsense' },
      { 'x-payment': 'e30=' },
    ]) {
      const answer = await gateway.app.inject({ url: '/agent/x402/subscription', headers });
      expect([answer.statusCode, answer.json()]).toMatchObject([400, { error: 'payment_malformed' }]);
    }
  });

  it('take so many calls a minute from one address', async () => {
    const limited = await startGateway({ replicaOf: gateway, settings: { RATE_LIMITS: 'on' } });
    for (const rail of RAILS) {
      const call = () => limited.app.inject({ url: `${rail}/subscription` });
      const answers = await Promise.all(Array.from({ length: 120 }, call));
      expect(new Set(answers.map(({ statusCode }) => statusCode))).toEqual(new Set([402]));
      const refused = await call();
      expect(refused.statusCode).toBe(429);
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
      expect(refused.json()).toMatchObject(
        rail === '/agent/mpp' ? { title: 'rate_limited', status: 429 } : { error: 'rate_limited' },
      );
    }
    await limited.stop();
  });
});

/** What `mppx validate` says, whose public testnet is the node that is given, or is not there. */
async function validate(args: readonly string[], node = '') {
  const standIn = path.join(CLIENTS_FOLDER, 'tempo-stand-in.mjs');
  const env = { NODE_OPTIONS: `--import=${standIn}`, TEMPO_STAND_IN: node };
  const { code, stdout } = await runMppx(['validate', gateway.origin, ...args], env);
  const checks = stdout
    .split('\n')
    .flatMap(line => /^ {2}([✓✗⚠◇○]) (.*)$/.exec(line)?.slice(1).join(' ') ?? []);
  const isPassed = (check: string) => check.startsWith('✓');
  return { code, passed: checks.filter(isPassed), others: checks.filter(check => !isPassed(check)) };
}

describe('mppx validate', () => {
  it('finds nothing wrong but that its faucet is not there; with one it pays, and likes what it gets', async () => {
    const query = ['--query', 'plan=startup', '--query', 'payment_frequency=monthly'];
    const [unpaid, paid] = await Promise.all([
      validate(['-e', 'GET:/agent/mpp/subscription']),
      validate(['-e', 'GET:/agent/mpp/subscribe', ...query], gateway.chain.rpcUrl),
    ]);
    expect(unpaid.others).toEqual([
      '✗ Payment: auto-provision wallet (Failed to create and fund testnet wallet)',
    ]);
    expect([unpaid.code, unpaid.passed.length]).toEqual([1, 15]);
    expect(paid.others).toEqual([]);
    expect(paid.passed).toEqual(
      expect.arrayContaining(['✓ Payment: successful (HTTP 200)', '✓ Receipt status is "success"']),
    );
    expect([paid.code, paid.passed.length]).toEqual([0, 25]);
  });
});
