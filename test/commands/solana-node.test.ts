import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createSvmClient } from '../../src/chains/svm-client.ts';
import { SolanaNodeError } from '../../src/client/svm-wallet.ts';
import { askSandboxRpcUrl, createSolanaNode } from '../../src/commands/solana-node.ts';
import type { LocalSolana } from '../../src/local/solana-chain.ts';
import { startTestSolana } from '../support/solana.ts';
import { solanaNetwork } from '../support/svm-transaction.ts';

const network = solanaNetwork();
let chain: LocalSolana;

beforeAll(async () => {
  chain = await startTestSolana({ finalizedAfterSlots: 1 });
});

afterAll(() => chain?.stop());

const recentBlock = (rpcUrl: string, on = network) =>
  createSolanaNode(() => Promise.resolve(rpcUrl)).recentBlock(on);

describe('the node of a payer', () => {
  it('names a block that the chain takes, and until when', async () => {
    const { blockhash, lastValidBlockHeight } = await recentBlock(chain.rpcUrl);
    const client = createSvmClient({ ...network, rpcUrl: chain.rpcUrl, timeoutMs: 5_000 });
    const isValid = async () => (await client.isBlockhashValid(blockhash, 'finalized')).valid;
    await expect.poll(isValid).toBe(true);
    expect(lastValidBlockHeight).toBeGreaterThan(0n);
  });

  it('must serve the network that is paid on', async () => {
    const devnet = { ...network, network: 'solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1' };
    await expect(recentBlock(chain.rpcUrl, devnet)).rejects.toThrow('another beginning');
    await expect(recentBlock(inject('rpcUrl'))).rejects.toThrow(SolanaNodeError);
  });

  it('is not taken from a server that is no sandbox', async () => {
    await expect(askSandboxRpcUrl(new URL(inject('rpcUrl')), network)).rejects.toThrow('no sandbox');
  });
});
