import { rm } from 'node:fs/promises';
import path from 'node:path';
import { generateKeyPairSigner, type KeyPairSigner } from '@solana/kit';
import { x402Client, x402HTTPClient } from '@x402/core/client';
import { ExactSvmScheme } from '@x402/svm/exact/client';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  callSandbox as call,
  openSandboxes,
  type Sandbox,
  type Sandboxes,
  type SandboxInfo,
} from '../support/sandbox.ts';
import { connectSolana, SOLANA_MAINNET, SOLANA_USDC, solanaUsdcBalance } from '../support/solana.ts';
import { newSvmKey } from '../support/svm-key.ts';
import { runTopup } from '../support/topup-cli.ts';

let sandboxes: Sandboxes;

beforeAll(async () => {
  sandboxes = await openSandboxes();
});

afterEach(() => sandboxes.stopAll());

afterAll(() => sandboxes.remove());

async function solanaOf(sandbox: Sandbox) {
  const info = (await call(sandbox, '/sandbox/v1/info')).body as unknown as SandboxInfo;
  const solana = info.networks.find(({ network }) => network === SOLANA_MAINNET);
  if (!solana) throw new Error('the sandbox has no Solana');
  return solana;
}

async function fund(sandbox: Sandbox, address: string, amountUsd: string) {
  return call(sandbox, '/sandbox/v1/fund', { network: SOLANA_MAINNET, address, amountUsd });
}

/** What any program does that has the published client and one URL. */
async function payAsClient(sandbox: Sandbox, wallet: KeyPairSigner, rpcUrl: string) {
  const url = `${sandbox.origin}/api/v1/x402/top-up`;
  // The client refuses more than a dollar unless it is told otherwise.
  const core = new x402Client()
    .register(SOLANA_MAINNET, new ExactSvmScheme(wallet, { rpcUrl }))
    .setSpendControls({ maxAmountPerPayment: '$5' });
  const client = new x402HTTPClient(core);
  const offered = await fetch(url, { method: 'POST' });
  const required = client.getPaymentRequiredResponse(name => offered.headers.get(name), await offered.json());
  const headers = client.encodePaymentSignatureHeader(await client.createPaymentPayload(required));
  const paid = await fetch(url, { method: 'POST', headers });
  const receipt = client.getPaymentSettleResponse(name => paid.headers.get(name));
  return { status: paid.status, body: await paid.json(), receipt, headers };
}

/** The gateway's own command finds the chain through the sandbox that it pays. */
async function payAsCommand(sandbox: Sandbox, rpcUrl: string) {
  const { address, secret } = newSvmKey();
  await fund(sandbox, address, '100');
  const args = ['--dialect', 'venice', '--amount', '12.5', '--url', sandbox.origin, '--sandbox', '--yes'];
  const { code, result } = await runTopup(args, { WALLET_PRIVATE_KEY: secret });
  expect([code, result]).toEqual([0, expect.objectContaining({ outcome: 'paid', balance: '12.5 USD' })]);
  expect(await solanaUsdcBalance({ rpcUrl }, address)).toBe(87_500_000n);
}

describe('Solana in the sandbox', () => {
  it('is there, with a receiver, and gives every wallet dollars and SOL', async () => {
    const sandbox = await sandboxes.start('plain');
    const solana = await solanaOf(sandbox);
    expect(sandbox.banner).toContain(`${SOLANA_MAINNET}  ${solana.rpcUrl}`);
    expect(solana.asset).toBe(SOLANA_USDC);
    const rpc = connectSolana(solana);
    const receiver = await rpc
      .getTokenAccountsByOwner(solana.payTo as never, { mint: SOLANA_USDC }, { encoding: 'base64' })
      .send();
    expect(receiver.value.length).toBe(1);

    const { address } = await generateKeyPairSigner();
    const funded = await fund(sandbox, address, '12.5');
    expect(funded).toMatchObject({ status: 200, body: { transaction: expect.any(String) } });
    expect(await solanaUsdcBalance(solana, address)).toBe(12_500_000n);
    expect((await rpc.getBalance(address).send()).value).toBe(1_000_000_000n);
    const status = await rpc.getSignatureStatuses([funded.body['transaction'] as never]).send();
    expect(status.value[0]).toMatchObject({ err: null, confirmationStatus: 'confirmed' });
    for (const wrong of ['0x1111111111111111111111111111111111111111', `${address}${address}`, '']) {
      expect(await fund(sandbox, wrong, '1')).toMatchObject({
        status: 400,
        body: { error: 'malformed_request' },
      });
    }
  });

  it('is paid by the published client, and the wallet is credited once', async () => {
    const sandbox = await sandboxes.start('paid');
    const { rpcUrl, payTo } = await solanaOf(sandbox);
    const ready = await call(sandbox, '/readyz');
    expect(ready).toMatchObject({ status: 200, body: { status: 'ready' } });
    const wallet = await generateKeyPairSigner();
    await fund(sandbox, wallet.address, '100');
    const { status, body, receipt, headers } = await payAsClient(sandbox, wallet, rpcUrl);
    expect(body).toMatchObject({
      success: true,
      data: { walletAddress: wallet.address, amountCredited: 5, newBalance: 5 },
    });
    expect(status).toBe(200);
    expect(receipt).toMatchObject({ success: true, network: SOLANA_MAINNET, payer: wallet.address });
    expect(await solanaUsdcBalance({ rpcUrl }, payTo)).toBe(5_000_000n);
    const again = await call(sandbox, '/api/v1/x402/top-up', undefined, headers);
    expect(again).toEqual({ status: 200, body });
    expect(await solanaUsdcBalance({ rpcUrl }, wallet.address)).toBe(95_000_000n);
    await payAsCommand(sandbox, rpcUrl);
  });

  it('goes on after kill -9, and is emptied with the rest', async () => {
    const first = await sandboxes.start('killed');
    const { address } = await generateKeyPairSigner();
    expect(await fund(first, address, '3')).toMatchObject({ status: 200 });
    const before = await solanaOf(first);
    await sandboxes.stop(first.child, 'SIGKILL');
    const second = await sandboxes.start('killed');
    expect(second.banner).not.toContain('started empty');
    const after = await solanaOf(second);
    expect(after.payTo).toBe(before.payTo);
    expect(await solanaUsdcBalance(after, address)).toBe(3_000_000n);
    expect(await call(second, '/sandbox/v1/reset', {})).toMatchObject({ status: 200 });
    expect(await solanaUsdcBalance(after, address)).toBe(0n);
    expect(await fund(second, address, '4')).toMatchObject({ status: 200 });
    await sandboxes.stop(second.child, 'SIGINT');
    expect(await sandboxes.leftProcesses('killed')).toEqual([]);

    await rm(path.join(sandboxes.folder, 'killed', 'solana', 'state.bin'));
    const third = await sandboxes.start('killed');
    expect(third.banner).toContain('could not be restored');
    expect(await solanaUsdcBalance(await solanaOf(third), address)).toBe(0n);
  });
});
