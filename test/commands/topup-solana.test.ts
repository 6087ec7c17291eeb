import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createKeyPairSignerFromBytes } from '@solana/kit';
import { ExactSvmScheme } from '@x402/svm/exact/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SVM_NETWORKS } from '../../src/chains/svm-networks.ts';
import { createSvmWallet } from '../../src/client/svm-wallet.ts';
import { decodeBase58 } from '../../src/lib/svm-address.ts';
import { readSvmKey } from '../../src/lib/svm-key.ts';
import { SOLANA_MAINNET, solanaRequirements, solanaUsdcBalance } from '../support/solana.ts';
import { type SolanaGateway, solanaCreditOf, startSolanaGateway } from '../support/solana-gateway.ts';
import { newSvmKey } from '../support/svm-key.ts';
import { randomBlockhash } from '../support/svm-transaction.ts';
import { runTopup } from '../support/topup-cli.ts';

let gateway: SolanaGateway;
let url: string;
let folder: string;
let isNodeSilent = false;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'topup-solana-'));
  gateway = await startSolanaGateway({
    settings: { SIWX_DOMAINS: '127.0.0.1' },
    seams: {
      settleWaitMs: 300,
      svmClient: client => ({
        ...client,
        signatureStatuses: (...question) =>
          isNodeSilent ? Promise.reject(new Error('silent')) : client.signatureStatuses(...question),
      }),
    },
  });
  await gateway.app.listen({ host: '127.0.0.1', port: 0 });
  url = `http://127.0.0.1:${(gateway.app.server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  await gateway?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** A wallet without SOL. */
async function createWallet(usd: bigint) {
  const { address, secret } = newSvmKey();
  if (usd > 0n) await gateway.chain.mint(address, usd * 1_000_000n);
  return { address, secret, balance: () => solanaUsdcBalance(gateway.chain, address) };
}

const order = (dialect: string, amount: string) => ['--dialect', dialect, '--amount', amount, '--url', url];

const pay = (amount: string, secret: string, more: string[] = ['--yes']) =>
  runTopup([...order('venice', amount), ...more], {
    WALLET_PRIVATE_KEY: secret,
    SOLANA_RPC_URL: gateway.chain.rpcUrl,
  });

describe('topup-gateway topup from a Solana wallet', () => {
  it('shows what it will pay, pays venice and prints the receipt', async () => {
    const { address, secret, balance } = await createWallet(100n);
    const { code, result, stderr } = await pay('12.5', secret);
    expect([code, stderr]).toEqual([0, expect.stringContaining(gateway.svmPayTo)]);
    const about = {
      amount: '12.5 USDC',
      network: `Solana (${SOLANA_MAINNET})`,
      payer: address,
      receiver: gateway.svmPayTo,
      account: address,
    };
    expect(result).toMatchObject({ outcome: 'paid', ...about, credited: '12.5 USD', balance: '12.5 USD' });
    for (const value of Object.values(about)) expect(stderr).toContain(value);
    expect(stderr).not.toContain(secret);
    expect(await balance()).toBe(87_500_000n);
    expect(await solanaCreditOf(gateway, address)).toEqual({ posted: '12500000000', transfers: 1 });
  });

  it('reads the file of solana-keygen and takes the node by flag', async () => {
    const { secret, balance } = await createWallet(100n);
    const file = path.join(folder, 'id.json');
    await writeFile(file, `${JSON.stringify([...(decodeBase58(secret) ?? [])])}\n`);
    const { code } = await runTopup([
      ...order('venice', '5'),
      '--yes',
      '--network',
      'solana',
      '--key-file',
      file,
      '--rpc-url',
      gateway.chain.rpcUrl,
    ]);
    expect(code).toBe(0);
    expect(await balance()).toBe(95_000_000n);
  });

  it('tells that the seller refused and no money moved', async () => {
    const { secret, balance } = await createWallet(1n);
    const { code, result } = await pay('10', secret);
    const refused = { outcome: 'refused', signedUntilBlock: expect.stringMatching(/^\d+$/) as string };
    expect([code, result]).toEqual([3, expect.objectContaining(refused)]);
    expect(await balance()).toBe(1_000_000n);
  });

  it('tells that the outcome is unknown, and where to look', async () => {
    const { address, secret } = await createWallet(100n);
    isNodeSilent = true;
    const { code, result } = await pay('10', secret, ['--yes', '--wait', '0']);
    isNodeSilent = false;
    expect([code, result]).toEqual([4, expect.objectContaining({ outcome: 'pending' })]);
    const { statusUrl } = result as { statusUrl: string };
    const state = async () => ((await (await fetch(statusUrl)).json()) as { state: string }).state;
    await expect.poll(state, { timeout: 20_000 }).toBe('credited');
    expect(await solanaCreditOf(gateway, address)).toEqual({ posted: '10000000000', transfers: 1 });
  });

  it('signs nothing without a node, and does not repeat where it is', async () => {
    const { secret, balance } = await createWallet(100n);
    const { code, result, stderr } = await pay('5', secret, [
      '--yes',
      '--rpc-url',
      'http://127.0.0.1:1/a-key',
    ]);
    const reason = expect.stringContaining('the Solana node does not answer') as string;
    expect([code, result]).toEqual([1, { outcome: 'problem', reason }]);
    expect(JSON.stringify(result) + stderr).not.toContain('a-key');
    expect(await balance()).toBe(100_000_000n);
  });
});

it('a payment is the published client’s, byte for byte', async () => {
  const { secret } = newSvmKey();
  const block = { blockhash: randomBlockhash(), lastValidBlockHeight: 1_000n };
  const offer = solanaRequirements({
    payTo: gateway.svmPayTo,
    feePayer: gateway.feePayer,
    amountBaseUnits: 12_500_000n,
    memo: 'one memo',
  });
  const signer = await createKeyPairSignerFromBytes(decodeBase58(secret) ?? expect.unreachable());
  const published = await new ExactSvmScheme(signer, { rpcUrl: gateway.chain.rpcUrl }).createPaymentPayload(
    2,
    { ...offer, extra: { ...offer.extra, recentBlockhash: block.blockhash } },
  );
  const wallet = createSvmWallet(readSvmKey(secret) ?? expect.unreachable(), SVM_NETWORKS, {
    recentBlock: () => Promise.resolve(block),
  });
  const entry = { ...offer };
  const { payload } = await wallet.checkEntry(entry).sign(12_500_000n, 0);
  expect(payload).toEqual(published.payload);
});
