import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { base } from 'viem/chains';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createEvmClient } from '../../src/chains/evm-client.ts';
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import { createEvmSender } from '../../src/facilitators/evm-sender.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { transferCallData } from '../../src/lib/eip3009.ts';
import { unavailable } from '../../src/lib/errors.ts';
import { newId } from '../../src/lib/ids.ts';
import { connectAnvil } from '../../src/local/anvil.ts';
import { type LocalEvmChain, startLocalEvmChain } from '../../src/local/evm-chain.ts';
import { createSenderStore } from '../../src/payments/sender-store.ts';
import type { EvmClient } from '../../src/ports/evm-client.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { BASE_USDC, paymentHeader, type SignedPayment, signPayment } from '../support/payment.ts';

const AMOUNT = 10_000_000n;
const CREDITED = '10000000000';
const ETHER = 10n ** 18n;

/** What the node gets wrong right now. */
const healthy = {
  ahead: 0n,
  countFails: false,
  gasPrice: undefined as bigint | undefined,
  sendDropped: false,
  countsRead: 0,
};
let faults = { ...healthy };
let aheadMs = 0;
const clock = { nowMs: () => Date.now() + aheadMs };

function faulty(client: EvmClient): EvmClient {
  return {
    ...client,
    async transactionCount(address) {
      if (faults.countFails) throw unavailable('the Base node');
      const count = await client.transactionCount(address);
      faults.countsRead += 1;
      return count + faults.ahead;
    },
    gasPrice: async () => faults.gasPrice ?? (await client.gasPrice()),
    async sendRawTransaction(raw) {
      if (faults.sendDropped) throw unavailable('the Base node');
      await client.sendRawTransaction(raw);
    },
  };
}

let chain: LocalEvmChain;
let node: ReturnType<typeof connectAnvil>;
let gateway: TestGateway;
let gasKey: PrivateKeyAccount;

beforeAll(async () => {
  const network = findEvmNetwork('eip155:8453');
  if (!network) throw new Error('Base is not in the table of networks');
  // Its blocks are made by hand in some of the tests, so it is nobody else's.
  chain = await startLocalEvmChain({ chainId: network.chainId, token: network.usdc, log: () => undefined });
  node = connectAnvil(chain.rpcUrl);
});

afterAll(async () => {
  await chain.stop();
});

afterEach(async () => {
  faults = { ...healthy };
  await node.setAutomine(true);
  await gateway.stop();
  aheadMs = 0;
});

const seams = { evmClient: faulty, settleWaitMs: 500, reconcileEveryMs: 100, maintainSenderEveryMs: 50 };

async function start(settleWaitMs = seams.settleWaitMs): Promise<void> {
  const settings = { BASE_RPC_URL: chain.rpcUrl };
  gateway = await startGateway({ seams: { ...seams, settleWaitMs }, clock, settings });
  gasKey = privateKeyToAccount(gateway.config.evmPrivateKeys[0] as `0x${string}`);
  await chain.fundGas(gasKey.address, 100n * ETHER);
}

async function createPayer(): Promise<PrivateKeyAccount> {
  const account = privateKeyToAccount(generatePrivateKey());
  await chain.mint(account.address, 1_000n * 1_000_000n);
  return account;
}

async function newPayment(): Promise<SignedPayment> {
  return signPayment(await createPayer(), gateway.payTo, AMOUNT);
}

function present(payment: SignedPayment, at = gateway) {
  return at.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
}

/** Presents a payment that is not settled while somebody waits. */
async function presentStuck(given?: SignedPayment): Promise<SignedPayment> {
  const payment = given ?? (await newPayment());
  expect((await present(payment)).statusCode).toBe(504);
  return payment;
}

async function expectNextPaymentWorks(): Promise<void> {
  const answer = await present(await newPayment());
  expect([answer.statusCode, answer.json().data?.newBalance]).toEqual([200, 10]);
}

/** What the wallet was credited, and how often its money moved. */
async function outcomeOf({ authorization }: SignedPayment) {
  const posted = await gateway.sql.query<{ posted: string }>(
    `SELECT a.posted FROM directory.customer_identity i JOIN directory.customer c USING (customer_id)
     JOIN cell_0.account a ON a.account_id = c.account_id WHERE i.value = $1`,
    [`eip155:8453:${authorization.from.toLowerCase()}`],
  );
  const balance = await node.request<{ Method: 'eth_call'; Parameters: unknown[]; ReturnType: string }>({
    method: 'eth_call',
    params: [{ to: BASE_USDC, data: `0x70a08231${authorization.from.slice(2).padStart(64, '0')}` }, 'latest'],
  });
  return { posted: posted.rows[0]?.posted, paid: 1_000n * 1_000_000n - BigInt(balance) };
}

function expectCreditedOnce(payment: SignedPayment): Promise<void> {
  return expect
    .poll(() => outcomeOf(payment), { timeout: 15_000 })
    .toEqual({ posted: CREDITED, paid: AMOUNT });
}

interface StoredTransaction {
  nonce: number;
  hash: string;
  filler: boolean;
  superseded: boolean;
}

async function stored(): Promise<StoredTransaction[]> {
  const result = await gateway.sql.query<StoredTransaction>(
    `SELECT nonce::int, hash, payment_id IS NULL AS filler, superseded
     FROM directory.evm_transaction ORDER BY nonce, created_at`,
  );
  return result.rows;
}

async function nextNonce(): Promise<number | undefined> {
  const result = await gateway.sql.query<{ n: number }>(
    'SELECT next_nonce::int AS n FROM directory.evm_sender',
  );
  return result.rows[0]?.n;
}

async function creditedBy(): Promise<string[]> {
  const result = await gateway.sql.query<{ transaction: string }>(
    "SELECT transaction FROM cell_0.payment WHERE state = 'credited' ORDER BY created_at",
  );
  return result.rows.map(row => row.transaction);
}

const minedCount = () => node.getTransactionCount({ address: gasKey.address });

/** Two whole rounds see the chain and the clock as they are now. */
async function twoRounds(): Promise<void> {
  const before = faults.countsRead;
  await expect.poll(() => faults.countsRead, { timeout: 10_000 }).toBeGreaterThanOrEqual(before + 3);
}

async function sendByHand(account: PrivateKeyAccount, to: string, data: `0x${string}` = '0x'): Promise<void> {
  const hash = await node.sendTransaction({ account, chain: base, to: to as `0x${string}`, data });
  await node.waitForTransactionReceipt({ hash });
}

describe('a node that counts too many transactions', () => {
  it('leaves a gap that is filled, and every payment arrives', async () => {
    faults.ahead = 7n;
    await start();
    const payment = await presentStuck();
    faults.ahead = 0n;
    await expectCreditedOnce(payment);
    const rows = await stored();
    expect(rows.map(row => row.nonce)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(rows.map(row => row.filler)).toEqual([...Array<boolean>(7).fill(true), false]);
    await expectNextPaymentWorks();
    expect(await minedCount()).toBe(9);
  });

  it('is corrected without a transaction when nothing was signed', async () => {
    faults.ahead = 7n;
    await start();
    await expect.poll(nextNonce, { timeout: 10_000 }).toBe(7);
    faults.ahead = 0n;
    await expect.poll(nextNonce, { timeout: 10_000 }).toBe(0);
    await expectNextPaymentWorks();
    expect((await stored()).map(row => row.nonce)).toEqual([0]);
  });
});

describe('a fee that is too low', () => {
  it('is raised for all that wait, and the next payment works', async () => {
    await start();
    faults.gasPrice = 1n;
    const waiting = [await presentStuck(), await presentStuck(), await presentStuck()];
    faults.gasPrice = undefined;
    aheadMs += 31_000;
    for (const payment of waiting) await expectCreditedOnce(payment);
    const rows = await stored();
    expect(rows.map(row => [row.nonce, row.superseded])).toEqual(
      [0, 1, 2].flatMap(nonce => [
        [nonce, true],
        [nonce, false],
      ]),
    );
    await expectNextPaymentWorks();
  });

  it('raised: the payment is credited once when the new transaction is mined', async () => {
    await start();
    const payment = await newPayment();
    await node.setAutomine(false);
    await presentStuck(payment);
    aheadMs += 31_000;
    await expect.poll(async () => (await stored()).length, { timeout: 10_000 }).toBe(2);
    const [, replacement] = await stored();
    await twoRounds();
    await node.mine({ blocks: 1 });
    await expectCreditedOnce(payment);
    expect(await creditedBy()).toEqual([replacement?.hash]);
  });

  it('raised: the payment is credited once when the old transaction is mined after all', async () => {
    await start();
    const payment = await newPayment();
    await node.setAutomine(false);
    await presentStuck(payment);
    faults.sendDropped = true;
    aheadMs += 31_000;
    await expect.poll(async () => (await stored()).length, { timeout: 10_000 }).toBe(2);
    const [original] = await stored();
    await node.mine({ blocks: 1 });
    await expectCreditedOnce(payment);
    expect(await creditedBy()).toEqual([original?.hash]);
    faults.sendDropped = false;
    await node.setAutomine(true);
    await expectNextPaymentWorks();
    expect(await minedCount()).toBe(2);
  });

  it.each([
    ['zero', 0n],
    ['absurd', 10n ** 15n],
  ])('of %s is not believed: nothing is claimed or signed', async (_name, gasPrice) => {
    faults.gasPrice = gasPrice;
    await start();
    const payment = await newPayment();
    expect((await present(payment)).statusCode).toBe(503);
    const claims = await gateway.sql.query('SELECT count(*)::int AS n FROM directory.payment_claim');
    expect([claims.rows[0].n, await stored()]).toEqual([0, []]);
    faults.gasPrice = undefined;
    aheadMs += 2_000;
    expect((await present(payment)).statusCode).toBe(200);
  });
});

describe('the gas key used by hand', () => {
  it('does not disturb the next payments', async () => {
    await start();
    await expectNextPaymentWorks();
    await sendByHand(gasKey, gasKey.address);
    await expect.poll(nextNonce, { timeout: 10_000 }).toBe(2);
    await expectNextPaymentWorks();
    expect((await stored()).map(row => row.nonce)).toEqual([0, 2]);
  });

  it('for the nonce of a payment lets the payment be signed anew', async () => {
    await start();
    await expectNextPaymentWorks();
    faults.sendDropped = true;
    const payment = await presentStuck();
    await sendByHand(gasKey, gasKey.address);
    faults.sendDropped = false;
    aheadMs += 11_000;
    await twoRounds();
    aheadMs += 11_000;
    await expectCreditedOnce(payment);
    expect((await stored()).map(row => [row.nonce, row.superseded])).toEqual([
      [0, false],
      [1, true],
      [2, false],
    ]);
    await expectNextPaymentWorks();
  });
});

describe('a stored transaction that the node never got', () => {
  it('is sent also when its payment is finished', async () => {
    await start();
    faults.sendDropped = true;
    const payment = await presentStuck();
    const stranger = await createPayer();
    await chain.fundGas(stranger.address, ETHER);
    const { from, to, ...rest } = payment.authorization;
    const authorization = { ...rest, from: from.toLowerCase(), to: to.toLowerCase() };
    const data = transferCallData(authorization, payment.signature);
    await sendByHand(stranger, BASE_USDC, data);
    // Only now is anybody else's transaction looked for.
    aheadMs += 301_000;
    await expectCreditedOnce(payment);
    expect(await minedCount()).toBe(0);
    faults.sendDropped = false;
    await expect.poll(minedCount, { timeout: 10_000 }).toBe(1);
    aheadMs = 0;
    await expectNextPaymentWorks();
  });

  it('arrives while the node does not count transactions', async () => {
    await start();
    faults.sendDropped = true;
    const payment = await presentStuck();
    faults.countFails = true;
    faults.sendDropped = false;
    await expectCreditedOnce(payment);
  });
});

describe('a call of the node that hangs', () => {
  it('holds up its own payment only', async () => {
    await start();
    const network = findEvmNetwork('eip155:8453');
    if (!network) throw new Error('Base is not in the table of networks');
    const { rpcUrl } = chain;
    const client = createEvmClient({ ...network, rpcUrl, timeoutMs: 5_000 });
    let calls = 0;
    const sender = createEvmSender({
      ...network,
      client: {
        ...client,
        transactionCount(address) {
          calls += 1;
          return calls === 1 ? new Promise(() => undefined) : client.transactionCount(address);
        },
      },
      store: createSenderStore(gateway.sql),
      address: gasKey.address.toLowerCase(),
      privateKey: gateway.config.evmPrivateKeys[0] ?? '',
      clock: systemClock,
    });
    const call = { to: gasKey.address.toLowerCase(), data: '0x', gas: 21_000n };
    // Which of the two meets the hanging call is chance; the other must not wait for it.
    const both = [sender.send(newId(), call), sender.send(newId(), call)];
    expect(await Promise.race(both)).toMatchObject({ kind: 'submitted' });
    expect((await Promise.all(both)).map(result => result.kind)).toEqual(
      expect.arrayContaining(['submitted', 'unknown']),
    );
    expect(await sender.send(newId(), call)).toMatchObject({ kind: 'submitted' });
  });
});

describe('a new payment', () => {
  it('is refused before its claim while an older one waits for a minute', async () => {
    await start();
    faults.sendDropped = true;
    const waiting = await presentStuck();
    await gateway.sql.query("UPDATE directory.evm_transaction SET created_at = created_at - interval '61 s'");
    aheadMs += 2_000;
    const refused = await newPayment();
    expect((await present(refused)).statusCode).toBe(503);
    const claims = await gateway.sql.query('SELECT count(*)::int AS n FROM directory.payment_claim');
    expect(claims.rows[0].n).toBe(1);
    faults.sendDropped = false;
    await expectCreditedOnce(waiting);
    aheadMs += 2_000;
    expect((await present(refused)).statusCode).toBe(200);
  });

  it('is refused before its claim while the gas cannot be paid', async () => {
    await start();
    await chain.fundGas(gasKey.address, 1_000n);
    const payment = await newPayment();
    expect((await present(payment)).statusCode).toBe(503);
    const claims = await gateway.sql.query('SELECT count(*)::int AS n FROM directory.payment_claim');
    expect(claims.rows[0].n).toBe(0);
    await chain.fundGas(gasKey.address, ETHER);
    aheadMs += 2_000;
    expect((await present(payment)).statusCode).toBe(200);
  });
});

describe('two replicas', () => {
  it('mend one gap and raise one fee, each once', async () => {
    faults.ahead = 3n;
    await start();
    const replica = await startGateway({ seams, clock, replicaOf: gateway });
    try {
      const late = await presentStuck();
      faults.ahead = 0n;
      await expectCreditedOnce(late);
      faults.gasPrice = 1n;
      aheadMs += 6_000;
      const cheap = await presentStuck();
      faults.gasPrice = undefined;
      aheadMs += 31_000;
      await expectCreditedOnce(cheap);
      await twoRounds();
      expect((await stored()).map(row => [row.nonce, row.filler, row.superseded])).toEqual([
        [0, true, false],
        [1, true, false],
        [2, true, false],
        [3, false, false],
        [4, false, true],
        [4, false, false],
      ]);
    } finally {
      await replica.stop();
    }
  });

  it('take 50 payments at once and leave no gap', async () => {
    await start(15_000);
    const replica = await startGateway({
      seams: { ...seams, settleWaitMs: 15_000 },
      clock,
      replicaOf: gateway,
    });
    try {
      const payments: SignedPayment[] = [];
      while (payments.length < 50) payments.push(await newPayment());
      const answers = await Promise.all(
        payments.map((payment, index) => present(payment, index % 2 === 0 ? gateway : replica)),
      );
      expect(answers.map(answer => answer.statusCode)).toEqual(Array<number>(50).fill(200));
      const rows = await stored();
      expect(rows.map(row => row.nonce)).toEqual(Array.from({ length: 50 }, (_, nonce) => nonce));
      expect(rows.filter(row => row.filler || row.superseded)).toEqual([]);
      expect(new Set(await creditedBy()).size).toBe(50);
      expect(await minedCount()).toBe(50);
    } finally {
      await replica.stop();
    }
  });
});
