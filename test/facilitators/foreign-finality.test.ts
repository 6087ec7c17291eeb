import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { erc20Abi } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import { unavailable } from '../../src/lib/errors.ts';
import { connectAnvil } from '../../src/local/anvil.ts';
import { type LocalEvmChain, startLocalEvmChain } from '../../src/local/evm-chain.ts';
import type { Seams } from '../../src/services/seams.ts';
import { judge } from '../../src/topups/reconciliation.ts';
import { cliProgram } from '../support/cli.ts';
import {
  FACILITATOR_SETTINGS,
  FOREIGN_AMOUNT,
  foreignStateOf,
  SELLER,
  settleForSeller,
} from '../support/foreign-settlement.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { BASE_USDC, type SignedPayment, signPayment } from '../support/payment.ts';

const NEVER_MS = 3_600_000;
const WAIT = { timeout: 15_000 };
/** Payments are valid for five minutes. */
const PAST_END_SECONDS = 400;

/** What is sent is swallowed. */
let sendDropped = false;
let aheadMs = 0;

const seams: Seams = {
  evmClient: client => ({
    ...client,
    sendRawTransaction: raw =>
      sendDropped ? Promise.reject(unavailable('the Base node')) : client.sendRawTransaction(raw),
  }),
  settleWaitMs: 500,
  reconcileEveryMs: 100,
  finalityCheckMs: 100,
  reorgGraceMs: 300,
  // What is sent again must come from the watch.
  maintainSenderEveryMs: NEVER_MS,
};

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
  sendDropped = false;
  await gateway.stop();
});

async function start(changed: Seams = {}): Promise<void> {
  gateway = await startGateway({
    seams: { ...seams, ...changed },
    clock: { nowMs: () => Date.now() + aheadMs },
    settings: { ...FACILITATOR_SETTINGS, BASE_RPC_URL: chain.rpcUrl },
  });
  const { address } = privateKeyToAccount(gateway.config.evmPrivateKeys[0] as `0x${string}`);
  await chain.fundGas(address, 10n ** 20n);
}

async function newPayment(): Promise<SignedPayment> {
  const payer = privateKeyToAccount(generatePrivateKey());
  await chain.mint(payer.address, FOREIGN_AMOUNT);
  return signPayment(payer, SELLER, FOREIGN_AMOUNT);
}

/** The newest block is made anew, and what was in it is forgotten. */
async function reorganise(): Promise<void> {
  await node.request({ method: 'anvil_reorg' as never, params: [1, []] as never });
}

/** The wallet was given just the payment's amount. */
async function hasPaid({ authorization }: SignedPayment): Promise<boolean> {
  const left = await node.readContract({
    address: BASE_USDC,
    abi: erc20Abi,
    functionName: 'balanceOf',
    args: [authorization.from],
  });
  return left === 0n;
}

const settle = async (payment: SignedPayment) => (await settleForSeller(gateway, payment)).json();
const stateOf = (payment: SignedPayment) => foreignStateOf(gateway.sql, payment);

/** The pause between two attempts grows, and nobody wants to wait for it. */
const makeDue = () => gateway.sql.query('UPDATE directory.facilitator_settlement SET due_at = now()');

async function rowOf({ authorization }: SignedPayment) {
  const { rows } = await gateway.sql.query<{ id: string; hash: string | null; final: boolean }>(
    `SELECT payment_id AS id, block_hash AS hash, final_at IS NOT NULL AS final
     FROM directory.facilitator_settlement WHERE identity LIKE $1`,
    [`%${authorization.nonce.toLowerCase()}`],
  );
  const [row] = rows;
  if (!row) throw new Error('the settlement is not stored');
  return row;
}

async function reconcileByHand(...args: string[]): Promise<number | null> {
  const child = spawn(process.execPath, [cliProgram(), 'reconcile', ...args], {
    env: { PATH: process.env['PATH'], ...gateway.env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return code;
}

describe('a payment that was settled for another seller', () => {
  it('follows its transfer into another block, and is final when that one is', async () => {
    await start();
    const payment = await newPayment();
    const first = await settle(payment);
    expect(first).toMatchObject({ success: true });
    const before = await rowOf(payment);
    expect(before).toMatchObject({ hash: expect.stringMatching(/^0x/), final: false });
    await reorganise();
    await expect.poll(async () => (await rowOf(payment)).hash, WAIT).not.toBe(before.hash);
    expect([await stateOf(payment), await hasPaid(payment)]).toEqual(['settled', true]);
    await node.mine({ blocks: 2 });
    await expect.poll(async () => (await rowOf(payment)).final, WAIT).toBe(true);
    expect(await settle(payment)).toEqual(first);
  });

  it('and that a reorganisation has undone is open, said to be so, and settled again', async () => {
    await start();
    const payment = await newPayment();
    expect(await settle(payment)).toMatchObject({ success: true });
    sendDropped = true;
    await reorganise();
    await expect.poll(() => stateOf(payment), WAIT).toBe('settling');
    const pending = await settle(payment);
    expect(pending).toMatchObject({ success: false, errorReason: 'settlement_pending' });
    expect(pending.errorMessage).toContain('a reorganisation of the chain has undone that');
    expect((await settleForSeller(gateway, payment, 'shop-b')).json()).toEqual(pending);
    const report = await gateway.services.reconcile({ dryRun: true });
    expect([judge(report), report.pending]).toMatchObject([
      'gap',
      [{ caller: 'shop-a', reason: 'reorganised' }],
    ]);
    sendDropped = false;
    await makeDue();
    await expect.poll(() => stateOf(payment), WAIT).toBe('settled');
    expect(await settle(payment)).toMatchObject({ success: true });
    expect(await hasPaid(payment)).toBe(true);
    await node.mine({ blocks: 2 });
    expect(judge(await gateway.services.reconcile())).toBe('in_order');
  });

  it('is compared with the chain when somebody asks, and sent again before the answer', async () => {
    await start({ finalityCheckMs: NEVER_MS });
    const payment = await newPayment();
    expect(await settle(payment)).toMatchObject({ success: true });
    await reorganise();
    expect(await hasPaid(payment)).toBe(false);
    expect(await settle(payment)).toMatchObject({ success: true });
    expect(await hasPaid(payment)).toBe(true);
  });

  it('and that is undone for good is failed, and in the report until a person has dealt with it', async () => {
    await start();
    const payment = await newPayment();
    const told = await settle(payment);
    sendDropped = true;
    await reorganise();
    await expect.poll(() => stateOf(payment), WAIT).toBe('settling');
    await node.increaseTime({ seconds: PAST_END_SECONDS });
    await node.mine({ blocks: 4 });
    aheadMs = PAST_END_SECONDS * 1_000;
    await makeDue();
    await expect.poll(() => stateOf(payment), WAIT).toBe('failed');
    const failed = await settle(payment);
    expect(failed).toMatchObject({ success: false, errorReason: 'invalid_transaction_state' });
    expect(failed.errorMessage).toBe(
      'it was settled before, and a reorganisation of the chain has undone that: expired',
    );
    const report = await gateway.services.reconcile({ dryRun: true });
    expect([judge(report), report.undone]).toMatchObject([
      'gap',
      [{ caller: 'shop-a', payTo: SELLER.toLowerCase(), transaction: told.transaction, reason: 'expired' }],
    ]);
    expect(await hasPaid(payment)).toBe(false);

    const { id } = await rowOf(payment);
    expect(await reconcileByHand('--close', id, '--reason', 'the shop was paid by hand')).toBe(0);
    expect(await reconcileByHand('--close', id, '--reason', 'the shop was paid by hand')).toBe(1);
    expect(judge(await gateway.services.reconcile({ dryRun: true }))).toBe('in_order');
  });
});
