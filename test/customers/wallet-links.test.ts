import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseWalletId } from '../../src/accounts/wallet-ids.ts';
import { link } from '../../src/accounts/wallet-links.ts';
import { findWallet, resolveWallet } from '../../src/customers/customers.ts';
import { DEFAULT_CELL } from '../../src/db/queryable.ts';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { newId } from '../../src/lib/ids.ts';
import { claimPayment } from '../../src/payments/payment-claim.ts';
import { cliProgram } from '../support/cli.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, signPayment } from '../support/payment.ts';
import { HOST, signInProof } from '../support/sign-in.ts';
import { SOLANA, solanaHeader, solanaMessage, solanaWallet } from '../unit/siwx/signed-proof.ts';

const BASE = 'eip155:8453';
const operator = { actor: 'alice', reason: 'ticket 7' };

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startGateway();
});

afterAll(async () => {
  await gateway?.stop();
});

let seed = 10;
const newSolanaWallet = () => {
  seed += 1;
  return solanaWallet(seed);
};
const newEvmWallet = () => privateKeyToAccount(generatePrivateKey());
const idOf = (network: string, address: string) =>
  parseWalletId(`${network}:${address}`) ?? expect.unreachable();

const nonce = () => newId().replaceAll('-', '');

function solanaProof(wallet: ReturnType<typeof solanaWallet>, statement = 'Sign in'): string {
  const issuedAt = new Date().toISOString();
  const lines = { domain: HOST, statement, nonce: nonce(), issuedAt, expirationTime: undefined };
  return solanaHeader(wallet, solanaMessage(wallet, lines));
}

const linkRoute = (...proofs: string[]) =>
  gateway.app.inject({ method: 'POST', url: '/wallets/link', payload: { proofs } });

async function balanceOf(proof: string, address: string): Promise<unknown> {
  const answer = await gateway.app.inject({
    url: `/api/v1/x402/balance/${address}`,
    headers: { 'sign-in-with-x': proof },
  });
  return answer.json().data?.balanceUsd;
}

async function topUp(usd: bigint) {
  const payer = await createPayer(100n);
  const answer = await pay(payer, usd);
  expect(answer.statusCode).toBe(200);
  return payer;
}

async function pay(payer: Awaited<ReturnType<typeof createPayer>>, usd: bigint) {
  const payment = await signPayment(payer, gateway.payTo, usd * 1_000_000n);
  return gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
}

describe('two wallets that both sign for it', () => {
  it('become one customer: what one pays, the other reads', async () => {
    const evm = await topUp(12n);
    const solana = newSolanaWallet();
    expect(await balanceOf(solanaProof(solana), solana.address)).toBe(0);

    const answer = await linkRoute(
      await signInProof(evm, `Link with ${SOLANA}:${solana.address}`),
      solanaProof(solana, `Link with ${BASE}:${evm.address}`),
    );
    expect(answer.statusCode).toBe(200);
    const wallets = [`${BASE}:${evm.address.toLowerCase()}`, `${SOLANA}:${solana.address}`];
    expect(answer.json()).toEqual({ wallets });

    expect(await balanceOf(solanaProof(solana), solana.address)).toBe(12);
    await pay(evm, 8n);
    expect(await balanceOf(solanaProof(solana), solana.address)).toBe(20);
    expect(await balanceOf(await signInProof(evm), evm.address)).toBe(20);
    // The contract lets each wallet read its own address and no other, also when the money is the same.
    const other = await gateway.app.inject({
      url: `/api/v1/x402/balance/${evm.address}`,
      headers: { 'sign-in-with-x': solanaProof(solana) },
    });
    expect(other.statusCode).toBe(403);
  });

  it('are linked in either order, and again without effect', async () => {
    const [evm, solana] = [newEvmWallet(), newSolanaWallet()];
    const proofs = async () => [
      solanaProof(solana, `Link with ${BASE}:${evm.address.toLowerCase()}`),
      await signInProof(evm, `Link with ${SOLANA}:${solana.address}`),
    ];
    const first = await linkRoute(...(await proofs()));
    expect(first.statusCode).toBe(200);
    const again = await linkRoute(...(await proofs()));
    expect([again.statusCode, again.json()]).toEqual([200, first.json()]);
  });

  it('must each name the other: proofs for signing in link nothing', async () => {
    const [victim, attacker] = [await topUp(5n), newSolanaWallet()];
    const intended = solanaProof(attacker, `Link with ${BASE}:${victim.address}`);
    for (const statement of ['Sign in to Venice AI', '', `Link with ${BASE}:${newEvmWallet().address}`]) {
      const answer = await linkRoute(intended, await signInProof(victim, statement));
      // The attacker's own proof is used up by the first attempt.
      expect([400, 401]).toContain(answer.statusCode);
    }
    expect(await balanceOf(solanaProof(attacker), attacker.address)).toBe(0);
  });

  it('prove it with fresh signatures of their own', async () => {
    const [evm, stranger, solana] = [newEvmWallet(), newEvmWallet(), newSolanaWallet()];
    const good = await signInProof(evm, `Link with ${SOLANA}:${solana.address}`);
    const forged = encodeBase64Json({
      ...(JSON.parse(Buffer.from(good, 'base64').toString()) as object),
      signature: await stranger.signMessage({ message: 'x' }),
    });
    const mine = () => solanaProof(solana, `Link with ${BASE}:${evm.address}`);
    const answer = await linkRoute(mine(), forged);
    expect([answer.statusCode, answer.json()]).toMatchObject([
      401,
      { error: 'proof_invalid', details: { reason: 'INVALID_SIGNATURE' } },
    ]);
    expect((await linkRoute(mine(), good)).statusCode).toBe(200);
    expect((await linkRoute(mine(), good)).json()).toMatchObject({ details: { reason: 'NONCE_REUSED' } });
    expect((await linkRoute(good)).statusCode).toBe(400);
  });

  it('are refused when both have an account, and keep what they have', async () => {
    const [one, other] = [await topUp(6n), await topUp(7n)];
    const answer = await linkRoute(
      await signInProof(one, `Link with ${BASE}:${other.address}`),
      await signInProof(other, `Link with ${BASE}:${one.address}`),
    );
    expect([answer.statusCode, answer.json().error]).toEqual([409, 'conflict']);
    expect(await balanceOf(await signInProof(one), one.address)).toBe(6);
    expect(await balanceOf(await signInProof(other), other.address)).toBe(7);
  });
});

describe('the customer that remains', () => {
  it('is the one with the account, whichever is named first, and it takes the keys of the other', async () => {
    const rich = await topUp(9n);
    const poor = newEvmWallet();
    const issuedAt = new Date().toISOString();
    const message = `${HOST} wants wallet ${poor.address} to obtain an API key\nIssued At: ${issuedAt}\n${nonce()}`;
    const registered = await gateway.app.inject({
      method: 'POST',
      url: '/v1/auth/wallet',
      payload: { address: poor.address, message, signature: await poor.signMessage({ message }) },
    });
    const key = registered.json().api_key as string;
    const before = await findWallet(gateway.sql, idOf(BASE, rich.address));
    const outcome = await link(gateway.sql, idOf(BASE, poor.address), idOf(BASE, rich.address), operator);
    expect(outcome).toMatchObject({ kind: 'linked', customer: before });
    const balance = await gateway.app.inject({
      url: '/v1/credits/balance',
      headers: { authorization: `Bearer ${key}` },
    });
    expect(balance.json()).toEqual({ balance: 900, balance_usdc: '9.00' });

    const { rows } = await gateway.sql.query(
      `SELECT customer_id, removed_customer_id, actor, reason FROM directory.customer_link
       WHERE customer_id = $1`,
      [before?.customerId],
    );
    expect(rows).toEqual([
      { customer_id: before?.customerId, removed_customer_id: expect.any(String), ...operator },
    ]);
    const gone = await gateway.sql.query('SELECT 1 FROM directory.customer WHERE customer_id = $1', [
      rows[0].removed_customer_id,
    ]);
    expect(gone.rowCount).toBe(0);
  });

  it('is not one whose payment is on its way: its claim keeps it', async () => {
    const [one, other] = [await topUp(5n), idOf(BASE, newEvmWallet().address)];
    const customer = await resolveWallet(gateway.sql, other);
    const claim = {
      ...customer,
      identity: `eip3009:8453:test:${newId()}`,
      paymentId: newId(),
      environment: 'live' as const,
    };
    await claimPayment(gateway.sql, claim);
    const outcome = await link(gateway.sql, idOf(BASE, one.address), other, operator);
    expect(outcome).toEqual({ kind: 'both_in_use' });
    expect(await findWallet(gateway.sql, other)).toEqual(customer);
  });

  it('is found by a payment that began before the link: it is not claimed for somebody who is gone', async () => {
    const [one, other] = [await topUp(5n), idOf(BASE, newEvmWallet().address)];
    const stale = await resolveWallet(gateway.sql, other);
    expect(await link(gateway.sql, idOf(BASE, one.address), other, operator)).toMatchObject({
      kind: 'linked',
    });
    const claim = {
      identity: `eip3009:8453:test:${newId()}`,
      paymentId: newId(),
      environment: 'live',
    } as const;
    await expect(claimPayment(gateway.sql, { ...stale, ...claim })).rejects.toMatchObject({
      code: 'unavailable',
    });
    const found = await resolveWallet(gateway.sql, other);
    expect(await claimPayment(gateway.sql, { ...found, ...claim })).toMatchObject({ claimed: true });
  });

  it('is one, however many callers link at once', async () => {
    const wallets = Array.from({ length: 4 }, () => idOf(BASE, newEvmWallet().address));
    const [first, ...others] = wallets;
    if (!first) expect.unreachable();
    const outcomes = await Promise.all(
      [...others, ...others].map(other => link(gateway.sql, first, other, operator)),
    );
    expect(outcomes.every(({ kind }) => kind === 'linked' || kind === 'already_linked')).toBe(true);
    const customers = await Promise.all(wallets.map(wallet => findWallet(gateway.sql, wallet)));
    expect(new Set(customers.map(customer => customer?.customerId)).size).toBe(1);
  });

  it('has a bounded number of wallets', async () => {
    const [first, ...others] = Array.from({ length: 21 }, () => idOf(BASE, newEvmWallet().address));
    if (!first) expect.unreachable();
    for (const other of others.slice(0, 19)) {
      expect(await link(gateway.sql, first, other, operator)).toMatchObject({ kind: 'linked' });
    }
    const last = others[19] ?? expect.unreachable();
    expect(await link(gateway.sql, first, last, operator)).toEqual({ kind: 'too_many' });
    expect(await findWallet(gateway.sql, last)).toBeUndefined();
  });
});

describe('live and test wallets', () => {
  const address = newEvmWallet().address;

  it('are never linked', async () => {
    const attempt = link(gateway.sql, idOf(BASE, address), idOf('eip155:84532', address), operator);
    await expect(attempt).rejects.toMatchObject({ code: 'malformed_request' });
  });

  it('could not be: the database refuses an identity of the other environment', async () => {
    const { customerId } = await resolveWallet(gateway.sql, idOf(BASE, address));
    const insert = gateway.sql.query(
      `INSERT INTO directory.customer_identity (environment, kind, value, customer_id)
       VALUES ('test', 'wallet', $1, $2)`,
      [`eip155:84532:${address.toLowerCase()}`, customerId],
    );
    await expect(insert).rejects.toMatchObject({ constraint: 'customer_identity_customer_fkey' });
  });
});

describe('topup-gateway accounts', () => {
  async function accounts(...args: string[]) {
    const env = { PATH: process.env['PATH'], DATABASE_URL: gateway.config.databaseUrl };
    const ended = await promisify(execFile)(process.execPath, [cliProgram(), 'accounts', ...args], {
      env,
    }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: { code: number; stdout: string; stderr: string }) => error,
    );
    return { code: ended.code, text: ended.stdout.trim(), stderr: ended.stderr };
  }

  it('links and shows', async () => {
    const [rich, solana] = [await topUp(11n), newSolanaWallet()];
    const [first, second] = [`${BASE}:${rich.address}`, `${SOLANA}:${solana.address}`];
    const linked = await accounts('link', first, second, '--actor', 'alice', '--reason', 'ticket 7');
    expect([linked.code, JSON.parse(linked.text)]).toMatchObject([0, { outcome: 'linked' }]);
    const shown = await accounts('show', second);
    expect(JSON.parse(shown.text)).toMatchObject({
      cell: DEFAULT_CELL,
      environment: 'live',
      availableUsd: '11',
      wallets: [first.toLowerCase(), second],
    });
    const other = `${BASE}:${(await topUp(5n)).address}`;
    const refused = await accounts('link', first, other, '--actor', 'alice', '--reason', 'ticket 8');
    expect([refused.code, JSON.parse(refused.text)]).toEqual([1, { outcome: 'both_in_use' }]);
  });

  it('says how it is called', async () => {
    const wallet = `${BASE}:${newEvmWallet().address}`;
    expect((await accounts('link', wallet, wallet)).stderr).toContain('usage: topup-gateway accounts');
  });
});
