import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import { DEFAULT_CELL } from '../../src/db/queryable.ts';
import { readBalance } from '../../src/ledger/balances.ts';
import { refund, setFrozen } from '../../src/ledger/corrections.ts';
import { voidGrant } from '../../src/ledger/grants.ts';
import { reconcileLedger } from '../../src/ledger/reconcile.ts';
import { applyOperations, type SpendingOperation } from '../../src/ledger/spending.ts';
import { unavailable } from '../../src/lib/errors.ts';
import { newId } from '../../src/lib/ids.ts';
import { connectAnvil } from '../../src/local/anvil.ts';
import { type LocalEvmChain, startLocalEvmChain } from '../../src/local/evm-chain.ts';
import type { EvmClient } from '../../src/ports/evm-client.ts';
import { judge } from '../../src/topups/reconciliation.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { paymentHeader, type SignedPayment, signPayment } from '../support/payment.ts';

const USD = 1_000_000n;
const NANO_USD = 1_000_000_000n;
const NEVER_MS = 3_600_000;

const healthy = { sendDropped: false, nodeDown: false, headersRead: 0 };
let faults = { ...healthy };

function faulty(client: EvmClient): EvmClient {
  return {
    ...client,
    async blockHash(number) {
      if (faults.nodeDown) throw unavailable('the Base node');
      faults.headersRead += 1;
      return client.blockHash(number);
    },
    async sendRawTransaction(raw) {
      if (faults.sendDropped) throw unavailable('the Base node');
      await client.sendRawTransaction(raw);
    },
  };
}

let chain: LocalEvmChain;
let node: ReturnType<typeof connectAnvil>;
let gateway: TestGateway;

beforeAll(async () => {
  const network = findEvmNetwork('eip155:8453');
  if (!network) throw new Error('Base is not in the table of networks');
  // Its history is rewritten, so it is nobody else's.
  chain = await startLocalEvmChain({ chainId: network.chainId, token: network.usdc, log: () => undefined });
  node = connectAnvil(chain.rpcUrl);
});

afterAll(async () => {
  await chain.stop();
});

afterEach(async () => {
  faults = { ...healthy };
  await gateway.stop();
});

const seams = {
  evmClient: faulty,
  settleWaitMs: 500,
  reconcileEveryMs: 100,
  finalityCheckMs: 100,
  reorgGraceMs: 300,
  // What the watcher sends again must come from the watcher.
  maintainSenderEveryMs: NEVER_MS,
};

async function start(settings: Record<string, string> = {}): Promise<void> {
  gateway = await startGateway({ seams, settings: { BASE_RPC_URL: chain.rpcUrl, ...settings } });
  const { address } = privateKeyToAccount(gateway.config.evmPrivateKeys[0] as `0x${string}`);
  await chain.fundGas(address, 10n ** 20n);
}

async function newPayment(amount = 10n * USD): Promise<SignedPayment> {
  const payer: PrivateKeyAccount = privateKeyToAccount(generatePrivateKey());
  await chain.mint(payer.address, 10_000n * USD);
  return signPayment(payer, gateway.payTo, amount);
}

async function pay(payment: SignedPayment): Promise<number> {
  const answer = await gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
  return answer.statusCode;
}

/** The only payment of the gateway, as its status tells. */
async function status() {
  const { rows } = await gateway.sql.query<{ id: string }>('SELECT payment_id AS id FROM cell_0.payment');
  const answer = await gateway.app.inject({ method: 'GET', url: `/payments/${rows[0]?.id}` });
  return answer.json<{ state: string; reason?: string; final: boolean; transaction?: string }>();
}

const state = async () => (await status()).state;

async function account() {
  const { rows } = await gateway.sql.query<{ account_id: string; posted: string; frozen: boolean }>(
    'SELECT account_id, posted, frozen FROM cell_0.account',
  );
  const [row] = rows;
  return {
    accountId: BigInt(row?.account_id ?? 0),
    usd: BigInt(row?.posted ?? -1) / NANO_USD,
    frozen: row?.frozen,
  };
}

async function events(): Promise<{ type: string; writtenOff: string | null }[]> {
  const { rows } = await gateway.sql.query<{ type: string; writtenOff: string | null }>(
    `SELECT type, payload ->> 'writtenOffNanoUsd' AS "writtenOff" FROM cell_0.outbox ORDER BY created_at`,
  );
  return rows;
}

async function place() {
  const { rows } = await gateway.sql.query<{ block: number; hash: string }>(
    'SELECT block_number::int AS block, block_hash AS hash FROM cell_0.payment',
  );
  return rows[0];
}

/** The newest block is made anew, and what was in it is forgotten. */
async function reorganise(): Promise<void> {
  await node.request({ method: 'anvil_reorg' as never, params: [1, []] as never });
}

async function apply(operation: SpendingOperation): Promise<void> {
  const [result] = await applyOperations(gateway.sql, DEFAULT_CELL, [operation]);
  expect(result?.status).toBe('applied');
}

/** @returns the id of the debit */
async function spend(usd: bigint): Promise<string> {
  const { accountId } = await account();
  const id = newId();
  await apply({ kind: 'debit', accountId, id, amountNanoUsd: usd * NANO_USD });
  return id;
}

async function giveBack(originalId: string, usd: bigint): Promise<void> {
  const { accountId } = await account();
  const order = { accountId, id: newId(), originalId, reason: 'service failed', actor: 'a person' };
  const result = await refund(gateway.sql, DEFAULT_CELL, { ...order, amountNanoUsd: usd * NANO_USD });
  expect(result.status).toBe('applied');
}

async function expectBooksInOrder(): Promise<void> {
  expect((await reconcileLedger(gateway.sql, DEFAULT_CELL)).breaks).toEqual([]);
}

describe('confirmations', () => {
  const CONFIRMATIONS = '{"eip155:8453":{"0":1,"50":3,"500":"final"}}';

  it.each([
    ['so many blocks', 60n, 2],
    ['finality', 600n, 1],
  ])('wait for %s where the amount asks for it', async (_name, usd, blocks) => {
    await start({ CONFIRMATIONS });
    expect(await pay(await newPayment(usd * USD))).toBe(504);
    expect(await status()).toMatchObject({ state: 'pending', reason: 'confirming' });
    const waiting = await gateway.services.reconcile();
    expect([judge(waiting), waiting.confirming.length, waiting.pending.length]).toEqual(['in_order', 1, 0]);
    await node.mine({ blocks });
    await gateway.services.reconcile();
    expect([await state(), (await account()).usd]).toEqual(['credited', usd]);
  });

  it('are one block for small amounts', async () => {
    await start({ CONFIRMATIONS });
    expect(await pay(await newPayment(49n * USD))).toBe(200);
  });
});

describe('a credited payment', () => {
  it('is final when its block is, and is not looked at any more', async () => {
    await start();
    expect(await pay(await newPayment())).toBe(200);
    expect((await status()).final).toBe(false);
    await node.mine({ blocks: 2 });
    await expect.poll(async () => (await status()).final, { timeout: 10_000 }).toBe(true);
    const { rows } = await gateway.sql.query(
      "SELECT count(*)::int AS n FROM cell_0.payment WHERE state = 'credited' AND final_at IS NULL",
    );
    expect(rows).toEqual([{ n: 0 }]);
  });

  it('follows its transfer into another block, and its credit stays as it is', async () => {
    await start();
    expect(await pay(await newPayment())).toBe(200);
    const before = await place();
    await reorganise();
    await expect.poll(async () => (await place())?.hash, { timeout: 10_000 }).not.toBe(before?.hash);
    expect(await state()).toBe('credited');
    expect(await events()).toEqual([{ type: 'payment.credited', writtenOff: null }]);
    expect((await account()).usd).toBe(10n);
    await node.mine({ blocks: 2 });
    await expect.poll(async () => (await status()).final, { timeout: 10_000 }).toBe(true);
    expect(judge(await gateway.services.reconcile())).toBe('in_order');
  });

  it('is reversed when its transfer is gone, and credited once when it comes back', async () => {
    await start();
    const payment = await newPayment();
    expect(await pay(payment)).toBe(200);
    faults.sendDropped = true;
    await reorganise();
    await expect.poll(state, { timeout: 10_000 }).toBe('reversed');
    expect(await account()).toMatchObject({ usd: 0n, frozen: false });
    expect(await pay(payment)).toBe(409);
    faults.sendDropped = false;
    await expect.poll(state, { timeout: 10_000 }).toBe('credited');
    expect(await account()).toMatchObject({ usd: 10n, frozen: false });
    expect((await events()).map(({ type }) => type)).toEqual([
      'payment.credited',
      'payment.reversed',
      'payment.credited',
    ]);
    await node.mine({ blocks: 2 });
    expect(judge(await gateway.services.reconcile())).toBe('in_order');
    await expectBooksInOrder();
  });

  it('that was spent is written off and freezes the account until its money comes back', async () => {
    await start();
    expect(await pay(await newPayment())).toBe(200);
    await spend(8n);
    faults.sendDropped = true;
    await reorganise();
    await expect.poll(state, { timeout: 10_000 }).toBe('reversed');
    expect(await account()).toMatchObject({ usd: 0n, frozen: true });
    expect((await events()).at(-1)).toEqual({ type: 'payment.reversed', writtenOff: '8000000000' });
    await expectBooksInOrder();

    faults.sendDropped = false;
    await expect.poll(state, { timeout: 10_000 }).toBe('credited');
    expect(await account()).toMatchObject({ usd: 2n, frozen: false });
    await spend(2n);
    await expectBooksInOrder();
  });

  it('is collected for once: by refunds before its money comes back, then by the credit', async () => {
    await start();
    expect(await pay(await newPayment())).toBe(200);
    const debit = await spend(8n);
    faults.sendDropped = true;
    await reorganise();
    await expect.poll(state, { timeout: 10_000 }).toBe('reversed');
    await giveBack(debit, 3n);
    expect(await account()).toMatchObject({ usd: 0n, frozen: true });

    faults.sendDropped = false;
    await expect.poll(state, { timeout: 10_000 }).toBe('credited');
    // Paid 10, spent 8, got 3 back.
    expect(await account()).toMatchObject({ usd: 5n, frozen: false });
    await giveBack(debit, 5n);
    expect(await account()).toMatchObject({ usd: 10n });
    await expectBooksInOrder();
  });

  it('counts what is held as spent, and a person’s freeze stays', async () => {
    await start();
    expect(await pay(await newPayment())).toBe(200);
    const { accountId } = await account();
    await apply({ kind: 'hold', accountId, id: newId(), amountNanoUsd: 4n * NANO_USD, lifetimeMs: 60_000 });
    faults.sendDropped = true;
    await reorganise();
    await expect.poll(state, { timeout: 10_000 }).toBe('reversed');
    expect(await account()).toMatchObject({ usd: 4n, frozen: true });
    const order = { accountId, id: newId(), reason: 'looks odd', actor: 'a person', frozen: true };
    expect((await setFrozen(gateway.sql, DEFAULT_CELL, order)).status).toBe('applied');
    faults.sendDropped = false;
    await expect.poll(state, { timeout: 10_000 }).toBe('credited');
    expect(await account()).toMatchObject({ usd: 10n, frozen: true });
    await expectBooksInOrder();
  });

  it.each([
    ['released before its money comes back', 10n],
    ['captured before its money comes back', 7n],
  ])('takes its held credit with the hold, and what was used of it when it is %s', async (how, usd) => {
    await start();
    expect(await pay(await newPayment())).toBe(200);
    const { accountId } = await account();
    const hold = { accountId, id: newId() };
    await apply({ kind: 'hold', ...hold, amountNanoUsd: 4n * NANO_USD, lifetimeMs: 60_000 });
    faults.sendDropped = true;
    await reorganise();
    await expect.poll(state, { timeout: 10_000 }).toBe('reversed');
    if (how.startsWith('released')) await apply({ kind: 'release', ...hold });
    else await apply({ kind: 'capture', ...hold, amountNanoUsd: 3n * NANO_USD });
    const balance = await readBalance(gateway.sql, DEFAULT_CELL, accountId);
    expect(balance).toMatchObject({ availableNanoUsd: 0n, frozen: true });
    faults.sendDropped = false;
    await expect.poll(state, { timeout: 10_000 }).toBe('credited');
    expect(await account()).toMatchObject({ usd, frozen: false });
    await expectBooksInOrder();
  });

  it('freezes nobody when it was voided before, because nothing of it was used', async () => {
    await start();
    expect(await pay(await newPayment())).toBe(200);
    const { accountId } = await account();
    const { rows } = await gateway.sql.query<{ id: string }>('SELECT grant_id AS id FROM cell_0.payment');
    const order = { accountId, id: newId(), reason: 'sent back', actor: 'a person' };
    await voidGrant(gateway.sql, DEFAULT_CELL, { ...order, grantId: rows[0]?.id ?? '' });
    faults.sendDropped = true;
    await reorganise();
    await expect.poll(state, { timeout: 10_000 }).toBe('reversed');
    expect(await account()).toMatchObject({ usd: 0n, frozen: false });
    expect((await events()).at(-1)).toEqual({ type: 'payment.reversed', writtenOff: '0' });
    await expectBooksInOrder();
  });

  it('is left alone while the node does not answer', async () => {
    await start();
    expect(await pay(await newPayment())).toBe(200);
    faults = { ...faults, sendDropped: true, nodeDown: true };
    await reorganise();
    await expect.poll(attempts, { timeout: 10_000 }).toBeGreaterThanOrEqual(2);
    expect([await state(), (await account()).usd]).toEqual(['credited', 10n]);
    faults.nodeDown = false;
    await expect.poll(state, { timeout: 10_000 }).toBe('reversed');
  });

  it('is reversed once by two replicas', async () => {
    await start();
    const replica = await startGateway({ replicaOf: gateway, seams });
    expect(await pay(await newPayment())).toBe(200);
    faults.sendDropped = true;
    await reorganise();
    await expect.poll(state, { timeout: 10_000 }).toBe('reversed');
    faults.sendDropped = false;
    await expect.poll(state, { timeout: 10_000 }).toBe('credited');
    await replica.stop();
    expect((await events()).map(({ type }) => type)).toEqual([
      'payment.credited',
      'payment.reversed',
      'payment.credited',
    ]);
    expect((await account()).usd).toBe(10n);
    await expectBooksInOrder();
  });
});

async function attempts(): Promise<number> {
  const { rows } = await gateway.sql.query<{ attempts: number }>('SELECT attempts FROM cell_0.payment');
  return rows[0]?.attempts ?? 0;
}
