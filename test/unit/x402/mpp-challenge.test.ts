import { Challenge } from 'mppx';
import { expect, it } from 'vitest';
import { createTempoClient } from '../../../src/chains/tempo-client.ts';
import { createMpp } from '../../../src/protocols/mpp.ts';

const mpp = createMpp(
  {
    secretKey: 'a'.repeat(32),
    realm: 'pay.example.com',
    chainId: 42_431,
    currency: `0x20c0${'0'.repeat(36)}`,
    recipient: `0x${'1'.repeat(40)}`,
    client: createTempoClient({
      network: 'eip155:42431',
      title: 'Tempo',
      rpcUrl: 'http://127.0.0.1:9',
      timeoutMs: 100,
    }),
  },
  () => 1_800_000_000_000,
);

it('gives two callers who ask for the same at the same moment challenges of their own', async () => {
  const demand = { amountBaseUnits: 1_000n, description: 'status', terms: '/agent/mpp/subscription' };
  const answers = await Promise.all([mpp.challenge(demand), mpp.challenge(demand)]);
  const [one, two] = answers.map(({ header }) => Challenge.deserialize(header));
  expect(one?.expires).toBe(two?.expires);
  expect(one?.id).not.toBe(two?.id);
});
