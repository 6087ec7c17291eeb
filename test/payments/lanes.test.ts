import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import { unavailable } from '../../src/lib/errors.ts';
import { connectAnvil } from '../../src/local/anvil.ts';
import { type LocalEvmChain, startLocalEvmChain } from '../../src/local/evm-chain.ts';
import type { EvmClient } from '../../src/ports/evm-client.ts';
import { judge } from '../../src/topups/reconciliation.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { paymentHeader, type SignedPayment, signPayment } from '../support/payment.ts';

const ETHER = 10n ** 18n;
const LANES = 3;

/** What the node does otherwise right now; `gasPrice` in wei. */
let faults: { sendDropped: boolean; gasPrice?: bigint } = { sendDropped: false };
let aheadMs = 0;
const clock = { nowMs: () => Date.now() + aheadMs };

function faulty(client: EvmClient): EvmClient {
  return {
    ...client,
    gasPrice: () => (faults.gasPrice === undefined ? client.gasPrice() : Promise.resolve(faults.gasPrice)),
    async sendRawTransaction(raw) {
      if (faults.sendDropped) throw unavailable('the Base node');
      await client.sendRawTransaction(raw);
    },
  };
}

let chain: LocalEvmChain;
let node: ReturnType<typeof connectAnvil>;
let gateway: TestGateway;
let lanes: PrivateKeyAccount[];

beforeAll(async () => {
  const network = findEvmNetwork('eip155:8453');
  if (!network) throw new Error('Base is not in the table of networks');
  // Its mining is stopped in some of the tests, so it is nobody else's.
  chain = await startLocalEvmChain({ chainId: network.chainId, token: network.usdc, log: () => undefined });
  node = connectAnvil(chain.rpcUrl);
});

afterAll(async () => {
  await chain.stop();
});

beforeEach(async () => {
  faults = { sendDropped: false };
  aheadMs = 0;
  const keys = Array.from({ length: LANES }, () => generatePrivateKey());
  lanes = keys.map(key => privateKeyToAccount(key));
  gateway = await startGateway({
    seams: { evmClient: faulty, settleWaitMs: 20_000, reconcileEveryMs: 100, maintainSenderEveryMs: 50 },
    clock,
    settings: { BASE_RPC_URL: chain.rpcUrl, EVM_PRIVATE_KEY: keys.join(',') },
  });
  for (const { address } of lanes) await chain.fundGas(address, 100n * ETHER);
});

afterEach(async () => {
  await node.setAutomine(true);
  await gateway.stop();
});

async function createWallet(): Promise<PrivateKeyAccount> {
  const wallet = privateKeyToAccount(generatePrivateKey());
  await chain.mint(wallet.address, 1_000_000_000n);
  return wallet;
}

async function pay(payment: SignedPayment): Promise<number> {
  const answer = await gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
  return answer.statusCode;
}

interface Sent {
  sender: string;
  nonces: number[];
}

/** Live transactions of each lane, in its order. */
async function sent(): Promise<Sent[]> {
  const { rows } = await gateway.sql.query<Sent>(
    `SELECT sender, array_agg(nonce::int ORDER BY nonce) AS nonces FROM directory.evm_transaction
     WHERE NOT superseded GROUP BY sender ORDER BY sender`,
  );
  return rows;
}

const readiness = async () => (await gateway.app.inject({ method: 'GET', url: '/readyz' })).statusCode;

/** What `/readyz` says of the gas keys. */
async function gasProblems(): Promise<string[] | undefined> {
  const answer = await gateway.app.inject({ method: 'GET', url: '/readyz' });
  const { checks } = answer.json<{ checks: { name: string; problems: string[] }[] }>();
  return checks.find(({ name }) => name === 'Base gas')?.problems;
}

describe('lanes', () => {
  it('settle 200 payments of 20 wallets at once: all credited, none lost, no nonce gap', async () => {
    const wallets = await Promise.all(Array.from({ length: 20 }, createWallet));
    const payments = await Promise.all(
      wallets.flatMap(wallet =>
        Array.from({ length: 10 }, () => signPayment(wallet, gateway.payTo, 5_000_000n)),
      ),
    );
    const answers = await Promise.all(payments.map(pay));
    expect(answers.filter(status => status !== 200)).toEqual([]);
    const { rows } = await gateway.sql.query('SELECT posted FROM cell_0.account ORDER BY 1');
    expect(rows).toEqual(wallets.map(() => ({ posted: '50000000000' })));

    const used = await sent();
    expect(used).toHaveLength(LANES);
    for (const { sender, nonces } of used) {
      expect(nonces).toEqual(nonces.map((_, index) => index));
      const mined = await node.getTransactionCount({ address: sender as `0x${string}` });
      expect(mined).toBe(nonces.length);
      // No lane is left idle while others work.
      expect(nonces.length).toBeGreaterThan(20);
    }
    expect(judge(await gateway.services.reconcile())).toBe('in_order');
  });

  it('go on when one of them is stuck, and a payment stays with its lane', async () => {
    const wallet = await createWallet();
    await node.setAutomine(false);
    faults.sendDropped = true;
    const stuck = pay(await signPayment(wallet, gateway.payTo, 5_000_000n));
    await expect.poll(async () => (await sent()).length, { timeout: 10_000 }).toBe(1);
    const [first] = await sent();
    // Stands for two minutes without a block for this lane alone.
    await gateway.sql.query(
      "UPDATE directory.evm_transaction SET created_at = created_at - interval '2 minutes' WHERE sender = $1",
      [first?.sender],
    );
    // The reconciler joins in, and whichever lane it picks finds the payment signed by another.
    await gateway.sql.query('UPDATE cell_0.payment SET due_at = now()');
    const attempts = async () =>
      (await gateway.sql.query('SELECT attempts AS n FROM cell_0.payment')).rows[0].n;
    await expect.poll(attempts, { timeout: 10_000 }).toBeGreaterThan(0);
    faults.sendDropped = false;
    await node.setAutomine(true);
    const others = await Promise.all(
      Array.from({ length: 6 }, async () => pay(await signPayment(wallet, gateway.payTo, 5_000_000n))),
    );
    expect([await stuck, ...others]).toEqual(Array(7).fill(200));
    const { rows } = await gateway.sql.query<{ n: number }>(
      `SELECT count(DISTINCT sender)::int AS n FROM directory.evm_transaction WHERE payment_id IS NOT NULL
       GROUP BY payment_id HAVING count(DISTINCT sender) > 1`,
    );
    expect(rows).toEqual([]);
  });

  it('that are out of gas take nothing; readiness closes when the last one is', async () => {
    const wallet = await createWallet();
    for (const { address } of lanes.slice(1)) await node.setBalance({ address, value: 0n });
    expect(await readiness()).toBe(200);
    for (let i = 0; i < 4; i += 1) {
      // Capacities are believed for a second.
      aheadMs += 2_000;
      expect(await pay(await signPayment(wallet, gateway.payTo, 5_000_000n))).toBe(200);
    }
    expect((await sent()).map(({ sender }) => sender)).toEqual([lanes[0]?.address.toLowerCase()]);
    await node.setBalance({ address: lanes[0]?.address ?? '0x', value: ETHER / 10_000n });
    await expect.poll(readiness, { timeout: 10_000 }).toBe(503);
    aheadMs += 2_000;
    expect(await pay(await signPayment(wallet, gateway.payTo, 5_000_000n))).toBe(503);
  });
});

describe('gas that gets low', () => {
  /** A settlement reserves gas at twice the price; readiness wants a hundred at the price, and half a thousandth ETH. */
  const settlements = (n: bigint) => async () => 300_000n * n * (await node.getGasPrice());
  const ether = (inverse: bigint) => () => Promise.resolve(ETHER / inverse);

  it.each([
    ['at the price of the chain', undefined, settlements(150n), settlements(50n)],
    ['at a price as low as that of Base', 10_000_000n, ether(1_900n), ether(2_100n)],
  ])('%s closes readiness while payments still succeed', async (_, gasPrice, enough, low) => {
    const wallet = await createWallet();
    if (gasPrice !== undefined) {
      faults.gasPrice = gasPrice;
      await node.setNextBlockBaseFeePerGas({ baseFeePerGas: gasPrice / 2n });
      // A price is believed for five seconds.
      aheadMs += 10_000;
    }
    const leave = async (balance: () => Promise<bigint>) => {
      const value = await balance();
      for (const { address } of lanes) await node.setBalance({ address, value });
    };
    await leave(enough);
    await expect.poll(gasProblems, { timeout: 10_000 }).toEqual([]);
    expect(await readiness()).toBe(200);
    await leave(low);
    const complaints = lanes.map(
      ({ address }) => `EVM_PRIVATE_KEY: ${address.toLowerCase()} needs gas on Base`,
    );
    await expect.poll(gasProblems, { timeout: 10_000 }).toEqual(complaints);
    expect(await readiness()).toBe(503);
    aheadMs += 2_000;
    expect(await pay(await signPayment(wallet, gateway.payTo, 5_000_000n))).toBe(200);
    expect(await readiness()).toBe(503);
  });
});

describe('a stuck transaction whose authorization has ended', () => {
  it('is replaced by a transfer of nothing, and its payment fails by the chain’s proof', async () => {
    const wallet = await createWallet();
    const validBefore = BigInt(Math.floor(Date.now() / 1000)) + 20n;
    faults.sendDropped = true;
    void pay(await signPayment(wallet, gateway.payTo, 5_000_000n, { validBefore }));
    await expect.poll(async () => (await sent()).length, { timeout: 10_000 }).toBe(1);
    aheadMs = 200_000;
    const cancelled = async () => {
      const { rows } = await gateway.sql.query<{ n: number }>(
        'SELECT count(*)::int AS n FROM directory.evm_transaction WHERE NOT superseded AND length(raw) < 300',
      );
      return rows[0]?.n;
    };
    // The stuck transaction has to be seen for a while before it is replaced.
    await expect
      .poll(
        async () => {
          aheadMs += 20_000;
          return cancelled();
        },
        { timeout: 10_000 },
      )
      .toBe(1);
    await node.setNextBlockTimestamp({ timestamp: validBefore + 100n });
    faults.sendDropped = false;
    await expect
      .poll(
        async () => {
          await node.mine({ blocks: 1 });
          return (await gateway.sql.query('SELECT state, reason FROM cell_0.payment')).rows[0];
        },
        { timeout: 15_000 },
      )
      .toEqual({ state: 'failed', reason: 'expired' });
  });
});
