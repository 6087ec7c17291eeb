import { generatePrivateKey, privateKeyToAccount, privateKeyToAddress } from 'viem/accounts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import { unavailable } from '../../src/lib/errors.ts';
import { connectAnvil } from '../../src/local/anvil.ts';
import { type LocalEvmChain, startLocalEvmChain } from '../../src/local/evm-chain.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { paymentHeader, signPayment } from '../support/payment.ts';

const NEVER_MS = 3_600_000;
const VALID_SECONDS = 300;
const PAST_END_SECONDS = VALID_SECONDS + 60;

let chain: LocalEvmChain;
let gateway: TestGateway;
let aheadMs = 0;

beforeAll(async () => {
  const base = findEvmNetwork('eip155:8453');
  if (!base) throw new Error('Base is not in the table of networks');
  // Its time is moved, and it makes no block that the test does not ask for.
  chain = await startLocalEvmChain({
    chainId: base.chainId,
    token: base.usdc,
    blockTimeSeconds: 3_600,
    log: () => undefined,
  });
  const gasKey = generatePrivateKey();
  await chain.fundGas(privateKeyToAddress(gasKey), 10n ** 20n);
  gateway = await startGateway({
    clock: { nowMs: () => Date.now() + aheadMs },
    settings: { BASE_RPC_URL: chain.rpcUrl, EVM_PRIVATE_KEY: gasKey },
    seams: {
      // Nothing that is sent arrives, and nobody but the reconciliation of the test looks at the payment.
      evmClient: client => ({
        ...client,
        sendRawTransaction: () => Promise.reject(unavailable('the Base node')),
      }),
      settleWaitMs: 200,
      reconcileEveryMs: NEVER_MS,
      maintainSenderEveryMs: NEVER_MS,
    },
  });
});

afterAll(async () => {
  await gateway.stop();
  await chain.stop();
});

async function reconciled(): Promise<{ state: string; reason: string | null }> {
  await gateway.services.reconcile();
  const { rows } = await gateway.sql.query('SELECT state, reason FROM cell_0.payment');
  return rows[0];
}

it('a payment has failed once its authorization ended at a safe block, and not when only a newer block is past the end', async () => {
  const node = connectAnvil(chain.rpcUrl);
  const payer = privateKeyToAccount(generatePrivateKey());
  await chain.mint(payer.address, 10_000_000n);
  const validBefore = BigInt(Math.floor(Date.now() / 1_000) + VALID_SECONDS);
  const payment = await signPayment(payer, gateway.payTo, 5_000_000n, { validBefore });
  const answer = await gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
  expect(answer.statusCode, answer.body).toBe(504);

  const isPast = async (blockTag: 'latest' | 'safe') =>
    (await node.getBlock({ blockTag })).timestamp >= validBefore;
  await node.increaseTime({ seconds: PAST_END_SECONDS });
  aheadMs = PAST_END_SECONDS * 1_000;
  await node.mine({ blocks: 1 });
  expect([await isPast('latest'), await isPast('safe')]).toEqual([true, false]);
  // A reorganisation may still put the transfer into a block before the end.
  expect(await reconciled()).toMatchObject({ state: 'pending' });

  await node.mine({ blocks: 1 });
  expect(await isPast('safe')).toBe(true);
  expect(await reconciled()).toEqual({ state: 'failed', reason: 'expired' });
});
