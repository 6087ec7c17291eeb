import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSvmClient } from '../../src/chains/svm-client.ts';
import { checkSvmSetup } from '../../src/chains/svm-setup.ts';
import type { LocalSolana } from '../../src/local/solana-chain.ts';
import { startTestSolana } from '../support/solana.ts';
import { newSvmKey } from '../support/svm-key.ts';
import { randomAddress, solanaNetwork, tokenAccountOf } from '../support/svm-transaction.ts';

const network = solanaNetwork();
const payTo = newSvmKey().address;
const receiver = { payTo, tokenAccount: tokenAccountOf(payTo) as string };

let chain: LocalSolana;

beforeAll(async () => {
  chain = await startTestSolana();
  await chain.mint(payTo, 0n);
});

afterAll(async () => {
  await chain.stop();
});

const clientOf = (rpcUrl: string) =>
  createSvmClient({ network: network.network, title: network.title, rpcUrl, timeoutMs: 2_000 });
const problems = (changes: Partial<typeof network> = {}, to = receiver) =>
  checkSvmSetup({ ...network, ...changes }, clientOf(chain.rpcUrl), to);

describe('the checks at start', () => {
  it('find nothing wrong with the right chain, mint and receiver', async () => {
    await expect.poll(() => problems(), { timeout: 5_000 }).toEqual([]);
  });

  it('name the node of another chain', async () => {
    const devnet = { network: 'solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1', title: 'Solana devnet' };
    expect(await problems(devnet)).toEqual([
      expect.stringMatching(/^SOLANA_RPC_URL serves the chain with genesis 5eykt.* not Solana devnet$/),
    ]);
  });

  it('name a mint that is not what we think', async () => {
    const other = await problems({ usdc: { ...network.usdc, decimals: 9 } });
    expect(other).toEqual([expect.stringContaining('other decimals')]);
    const none = await problems({ usdc: { ...network.usdc, address: randomAddress() } });
    expect(none.join()).toContain('SOLANA_RPC_URL: USDC');
  });

  it('name the token account to create, and one that is not the receiver’s', async () => {
    const stranger = newSvmKey().address;
    const missing = { payTo: stranger, tokenAccount: tokenAccountOf(stranger) as string };
    expect(await problems({}, missing)).toEqual([expect.stringContaining(`create ${missing.tokenAccount}`)]);
    expect(await problems({}, { ...receiver, payTo: stranger })).toEqual([
      expect.stringMatching(/^SVM_PAY_TO: the USDC account .* cannot receive$/),
    ]);
  });

  it('tell a node that does not answer from a wrong one', async () => {
    const nobody = clientOf('http://127.0.0.1:9/secret-token');
    expect(await checkSvmSetup(network, nobody, receiver)).toEqual([
      'SOLANA_RPC_URL: the Solana node does not answer',
    ]);
  });
});
