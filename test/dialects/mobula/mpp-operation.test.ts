import path from 'node:path';
import { Challenge } from 'mppx';
import { encodeFunctionData } from 'viem';
import { Abis } from 'viem/tempo';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TEMPO_NETWORKS } from '../../../src/chains/tempo-networks.ts';
import { judge } from '../../../src/topups/reconciliation.ts';
import { startGateway } from '../../support/gateway.ts';
import {
  challengeOf,
  createTempoPayer,
  fetchPaid,
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
});
