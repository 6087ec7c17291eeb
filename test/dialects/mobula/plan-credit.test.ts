import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseWalletId } from '../../../src/accounts/wallet-ids.ts';
import { link } from '../../../src/accounts/wallet-links.ts';
import { startGateway } from '../../support/gateway.ts';
import { createPayer, paymentHeader } from '../../support/payment.ts';
import {
  ledgerBreaks,
  type MobulaGateway,
  movableClock,
  pay,
  sign,
  status,
  subscribe,
} from './mobula-gateway.ts';

const BASE = 'eip155:8453';
const USD = 1_000_000_000n;

const clock = movableClock();
let gateway: MobulaGateway;

beforeAll(async () => {
  gateway = { ...(await startGateway({ clock })), clock };
});
afterAll(async () => {
  expect(await ledgerBreaks(gateway)).toEqual([]);
  await gateway?.stop();
});

type Wallet = Awaited<ReturnType<typeof createPayer>>;

const idOf = ({ address }: { address: string }) =>
  parseWalletId(`${BASE}:${address}`) ?? expect.unreachable();
const walletBalance = async ({ address }: Wallet) =>
  (await gateway.services.accounts.walletBalance(BASE, address.toLowerCase())).availableNanoUsd;

async function topUpWallet(wallet: Wallet, usd: number) {
  const answer = await gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(await sign(gateway, wallet, usd)) },
  });
  expect(answer.statusCode).toBe(200);
  return answer.json().data as Record<string, unknown>;
}

/** A `dkn_live_` key of the wallet, which spends what the wallet has. */
async function linkedKey(wallet: Wallet): Promise<string> {
  const lines = `127.0.0.1:4020 wants wallet ${wallet.address} to obtain an API key`;
  const message = `${lines}\nIssued At: ${new Date(clock.nowMs()).toISOString()}\n${generatePrivateKey()}`;
  const answer = await gateway.app.inject({
    method: 'POST',
    url: '/v1/auth/wallet',
    payload: { address: wallet.address, message, signature: await wallet.signMessage({ message }) },
  });
  return String(answer.json().api_key);
}

describe('credit of a plan', () => {
  it('is worth more than was paid for it, and is neither read nor spent by other dialects', async () => {
    const wallet = await createPayer(2_000n);
    // $400 buys credits that are worth $500 at the price of a top-up.
    await subscribe(gateway, wallet, 'growth');
    expect(await status(gateway, wallet)).toMatchObject({ credits_left: 1_250_000 });
    expect(await walletBalance(wallet)).toBe(0n);
    const topup = await topUpWallet(wallet, 10);
    expect(topup).toMatchObject({ newBalance: 10 });
    expect(await walletBalance(wallet)).toBe(10n * USD);

    const key = await linkedKey(wallet);
    const credits = await gateway.app.inject({
      url: '/v1/credits/balance',
      headers: { authorization: `Bearer ${key}` },
    });
    expect(credits.json()).toMatchObject({ balance_usdc: '10.00' });
    expect(await status(gateway, wallet)).toMatchObject({ credits_left: 1_250_000 });
  });

  it('and what was topped up to it stay with the agent, however its wallet is used', async () => {
    const wallet = await createPayer();
    await topUpWallet(wallet, 10);
    const { agentId } = await subscribe(gateway, wallet);
    await pay(gateway, wallet, `/top-up?agent_id=${agentId}&amount_usd=20`);
    expect(await status(gateway, wallet)).toMatchObject({ user_id: agentId, credits_left: 175_000 });
    expect(await walletBalance(wallet)).toBe(10n * USD);
  });
});

describe('wallets that are linked', () => {
  it('have one agent, whichever of them pays', async () => {
    const [first, second] = [await createPayer(), await createPayer()];
    const { agentId } = await subscribe(gateway, first);
    const order = { actor: 'alice', reason: 'ticket 7' };
    expect(await link(gateway.sql, idOf(first), idOf(second), order)).toMatchObject({ kind: 'linked' });
    expect(await status(gateway, second)).toMatchObject({ user_id: agentId, left_days: 30 });
    await subscribe(gateway, second);
    expect(await status(gateway, first)).toMatchObject({ user_id: agentId, left_days: 60 });
  });

  it('take the agent along when its wallet joins one with money', async () => {
    const [agent, rich] = [await createPayer(), await createPayer()];
    const { agentId } = await subscribe(gateway, agent);
    await topUpWallet(rich, 10);
    const order = { actor: 'alice', reason: 'ticket 8' };
    expect(await link(gateway.sql, idOf(agent), idOf(rich), order)).toMatchObject({ kind: 'linked' });
    expect(await status(gateway, rich)).toMatchObject({ user_id: agentId });
    expect(await status(gateway, agent)).toMatchObject({ user_id: agentId });
    expect(await walletBalance(agent)).toBe(10n * USD);
  });

  it('are not, when each has an agent', async () => {
    const [one, other] = [await createPayer(), await createPayer()];
    await subscribe(gateway, one);
    await subscribe(gateway, other);
    const order = { actor: 'alice', reason: 'ticket 9' };
    expect(await link(gateway.sql, idOf(one), idOf(other), order)).toEqual({ kind: 'both_in_use' });
  });

  it('while one of them buys its first plan end as one agent or as none', async () => {
    const wallet = await createPayer();
    const fresh = privateKeyToAccount(generatePrivateKey());
    const order = { actor: 'alice', reason: 'ticket 10' };
    const [bought, outcome] = await Promise.all([
      subscribe(gateway, wallet),
      link(gateway.sql, idOf(wallet), idOf(fresh), order),
    ]);
    expect(['linked', 'already_linked']).toContain(outcome.kind);
    expect(await status(gateway, wallet)).toMatchObject({ user_id: bought.agentId });
  });
});
