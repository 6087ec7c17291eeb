import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { mintUsdc, usdcBalance } from '../support/chain.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { runTopup as topup } from '../support/topup-cli.ts';

let gateway: TestGateway;
let url: string;
let folder: string;
let isChainSilent = false;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'topup-cli-'));
  gateway = await startGateway({
    settings: { SIWX_DOMAINS: '127.0.0.1' },
    seams: {
      settleWaitMs: 300,
      chain: chain => ({
        ...chain,
        proveSettlement: async (payment, hint) =>
          isChainSilent ? { kind: 'unknown', used: false } : chain.proveSettlement(payment, hint),
      }),
    },
  });
  await gateway.app.listen({ host: '127.0.0.1', port: 0 });
  url = `http://127.0.0.1:${(gateway.app.server.address() as AddressInfo).port}`;
});

beforeEach(() => {
  isChainSilent = false;
});

afterAll(async () => {
  await gateway?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function createWallet(usd: bigint) {
  const privateKey = generatePrivateKey();
  const { address } = privateKeyToAccount(privateKey);
  if (usd > 0n) await mintUsdc(address, usd * 1_000_000n);
  return { privateKey, address };
}

const order = (dialect: string, amount = '10') => ['--dialect', dialect, '--amount', amount, '--url', url];

describe('topup-gateway topup', () => {
  it('shows what it will pay, pays venice and prints the receipt', async () => {
    const { privateKey, address } = await createWallet(100n);
    const { code, result, stderr } = await topup([...order('venice', '12.5'), '--yes'], {
      WALLET_PRIVATE_KEY: privateKey,
    });
    expect(code).toBe(0);
    const about = {
      amount: '12.5 USDC',
      network: 'Base (eip155:8453)',
      payer: address.toLowerCase(),
      receiver: gateway.payTo.toLowerCase(),
      account: address.toLowerCase(),
    };
    expect(result).toMatchObject({ outcome: 'paid', ...about, credited: '12.5 USD', balance: '12.5 USD' });
    for (const value of Object.values(about)) expect(stderr).toContain(value);
    expect(stderr).not.toContain(privateKey.slice(2));
    expect(await usdcBalance(address)).toBe(87_500_000n);
    const { paymentId } = result as { paymentId: string };
    const status = await gateway.app.inject({ url: `/payments/${paymentId}` });
    expect(status.json()).toMatchObject({ state: 'credited', creditedUsd: '12.5' });
  });

  it('pays dria for the owner of a key, both keys from files', async () => {
    const { privateKey, address } = await createWallet(100n);
    const { apiKey } = await gateway.services.createFundedKey({
      dialect: 'dria',
      environment: 'live',
      balanceNanoUsd: 0n,
    });
    const files = { 'wallet-key': `${privateKey.slice(2)}\n`, 'api-key': `${apiKey}\n` };
    for (const [name, text] of Object.entries(files)) await writeFile(path.join(folder, name), text);
    const { code, result, stderr } = await topup([
      ...order('dria'),
      '--yes',
      '--key-file',
      path.join(folder, 'wallet-key'),
      '--api-key-file',
      path.join(folder, 'api-key'),
    ]);
    expect(code).toBe(0);
    expect(result).toMatchObject({ outcome: 'paid', credited: '1000 credits', balance: '1000 credits' });
    expect(stderr).not.toContain(apiKey);
    expect(await usdcBalance(address)).toBe(90_000_000n);
  });

  it('gets a wallet its own key from dria where it has none', async () => {
    const { privateKey } = await createWallet(100n);
    const { code, result } = await topup([...order('dria'), '--yes'], { WALLET_PRIVATE_KEY: privateKey });
    expect(code).toBe(0);
    const { apiKey } = result as { apiKey: string };
    const balance = await gateway.app.inject({
      url: '/v1/credits/balance',
      headers: { authorization: `Bearer ${apiKey}` },
    });
    expect(balance.json()).toEqual({ balance: 1000, balance_usdc: '10.00' });
  });

  it('pays nothing unless somebody confirms', async () => {
    const { privateKey, address } = await createWallet(100n);
    const { code, result, stderr } = await topup(order('venice'), { WALLET_PRIVATE_KEY: privateKey });
    expect([code, (result as { outcome: string }).outcome]).toEqual([5, 'declined']);
    expect(stderr).toContain('--yes');
    expect(await usdcBalance(address)).toBe(100_000_000n);
  });

  it.each(['venice', 'dria'])('tells that %s refused and no money moved', async dialect => {
    const { privateKey, address } = await createWallet(1n);
    const { code, result } = await topup([...order(dialect), '--yes'], { WALLET_PRIVATE_KEY: privateKey });
    expect([code, (result as { outcome: string }).outcome]).toEqual([3, 'refused']);
    expect(await usdcBalance(address)).toBe(1_000_000n);
  });

  it('tells that the outcome is unknown, and where to look', async () => {
    const { privateKey } = await createWallet(100n);
    isChainSilent = true;
    const { code, result } = await topup([...order('venice'), '--yes', '--wait', '0'], {
      WALLET_PRIVATE_KEY: privateKey,
    });
    isChainSilent = false;
    expect([code, (result as { outcome: string }).outcome]).toEqual([4, 'pending']);
    const { statusUrl } = result as { statusUrl: string };
    await expect
      .poll(async () => ((await (await fetch(statusUrl)).json()) as { state: string }).state, {
        timeout: 20_000,
      })
      .toBe('credited');
  });

  it('tells that nothing was signed where there is no seller or no such price', async () => {
    const { privateKey } = await createWallet(0n);
    const env = { WALLET_PRIVATE_KEY: privateKey };
    const nobody = await topup(
      ['--dialect', 'venice', '--amount', '10', '--url', 'http://127.0.0.1:1', '--yes'],
      env,
    );
    expect([nobody.code, (nobody.result as { outcome: string }).outcome]).toEqual([1, 'problem']);
    const little = await topup([...order('venice', '4.99'), '--yes'], env);
    expect(little).toMatchObject({ code: 1, result: { reason: 'the least top-up is 5 USDC' } });
  });

  it('says how it is called', async () => {
    const { code, stderr } = await topup(['--amount', '10'], { WALLET_PRIVATE_KEY: `0x${'11'.repeat(32)}` });
    expect([code, stderr]).toEqual([2, expect.stringContaining('usage: topup-gateway topup')]);
  });

  it('wants a key that is one, and never repeats it', async () => {
    expect((await topup(order('venice'))).stderr).toContain('WALLET_PRIVATE_KEY');
    const wrong = await topup(order('venice'), { WALLET_PRIVATE_KEY: 'correct horse battery' });
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).not.toContain('horse');
  });
});
