import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { decodeBase64Json } from '../../../src/lib/base64.ts';
import { unavailable } from '../../../src/lib/errors.ts';
import { newId } from '../../../src/lib/ids.ts';
import type { LocalEvmChain } from '../../../src/local/evm-chain.ts';
import { mintUsdc, usdcTransfersTo } from '../../support/chain.ts';
import type { TestGateway } from '../../support/gateway.ts';
import { leaveClaim, sendByStranger } from '../../support/interrupted-payment.ts';
import { createPayer, paymentHeader, type SignedPayment } from '../../support/payment.ts';
import {
  balanceOf,
  createKey,
  SEPOLIA_DOMAIN,
  signDria,
  startDriaGateway,
  startSepolia,
  topUp,
} from './dria-gateway.ts';

/** While true the chain shows nothing of any payment. */
let isChainSilent = false;

let sepolia: LocalEvmChain;
let gateway: TestGateway;

beforeAll(async () => {
  sepolia = await startSepolia();
  gateway = await startDriaGateway(sepolia, {
    seams: {
      chain: chain => ({
        ...chain,
        proveSettlement: (payment, hint) =>
          isChainSilent ? Promise.reject(unavailable('the node')) : chain.proveSettlement(payment, hint),
      }),
      settleWaitMs: 1_500,
      reconcileEveryMs: 100,
    },
  });
});

afterAll(async () => {
  await gateway?.stop();
  await sepolia?.stop();
});

async function transfersFrom({ address }: PrivateKeyAccount): Promise<bigint[]> {
  const transfers = await usdcTransfersTo(gateway.payTo);
  return transfers.filter(t => t.from === address.toLowerCase()).map(t => t.amount);
}

describe('a top-up', () => {
  it('settles the payment, credits the owner of the key and answers with the receipt', async () => {
    const key = await createKey(gateway, { balanceNanoUsd: 7_350_000_000n });
    const payer = await createPayer(100n);
    expect((await topUp(gateway.app, { key, amount: '25' })).statusCode).toBe(402);

    const answer = await topUp(gateway.app, {
      key,
      amount: '25',
      payment: await signDria(payer, gateway, 25n),
    });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({
      credits_added: 2500,
      balance: 3235,
      balance_usdc: '32.35',
      txHash: expect.stringMatching(/^0x[0-9a-f]{64}$/),
    });
    expect(decodeBase64Json(String(answer.headers['x-payment-response']))).toEqual({
      success: true,
      transaction: answer.json().txHash,
      network: 'base',
      payer: payer.address.toLowerCase(),
    });
    expect(await transfersFrom(payer)).toEqual([25_000_000n]);
    expect(await balanceOf(gateway.app, key)).toEqual({ balance: 3235, balance_usdc: '32.35' });
  });

  it('is answered to the byte as before when it is repeated, also after the balance has moved', async () => {
    const key = await createKey(gateway);
    const payer = await createPayer(100n);
    const call = { key, amount: '5', payment: await signDria(payer, gateway, 5n) };
    const first = await topUp(gateway.app, call);
    await topUp(gateway.app, { ...call, payment: await signDria(payer, gateway, 5n) });
    const again = await topUp(gateway.app, call);
    expect(again.statusCode).toBe(200);
    expect(again.body).toBe(first.body);
    expect(again.headers['x-payment-response']).toBe(first.headers['x-payment-response']);
    expect(await balanceOf(gateway.app, key)).toEqual({ balance: 1000, balance_usdc: '10.00' });
    expect(await transfersFrom(payer)).toHaveLength(2);
  });

  it('is credited to nobody twice: not for another amount, another key, another signature', async () => {
    const [key, otherKey] = await Promise.all([createKey(gateway), createKey(gateway)]);
    const payer = await createPayer(200n);
    const payment = await signDria(payer, gateway, 10n);
    expect((await topUp(gateway.app, { key, amount: '10', payment })).statusCode).toBe(200);

    const resigned = await signDria(payer, gateway, 100n, { nonce: payment.authorization.nonce });
    const forged = { ...payment, signature: resigned.signature };
    for (const call of [
      { key, amount: '100', payment },
      { key: otherKey, amount: '10', payment },
      { key, amount: '100', payment: resigned },
      { key, amount: '10', payment: forged },
      { key: otherKey, amount: '10', payment: forged },
    ]) {
      const answer = await topUp(gateway.app, call);
      expect(answer.statusCode).toBe(402);
      expect(answer.json()).toMatchObject({ x402Version: 1, error: 'duplicate_settlement' });
    }
    expect(await balanceOf(gateway.app, key)).toEqual({ balance: 1000, balance_usdc: '10.00' });
    expect(await balanceOf(gateway.app, otherKey)).toEqual({ balance: 0, balance_usdc: '0.00' });
    expect(await transfersFrom(payer)).toEqual([10_000_000n]);
  });

  /** What the wallet's own account holds, in nano-USD. */
  async function creditOf({ address }: PrivateKeyAccount): Promise<string | undefined> {
    const { rows } = await gateway.sql.query<{ posted: string }>(
      `SELECT a.posted FROM cell_0.account a JOIN directory.customer c USING (account_id)
         JOIN directory.customer_identity i USING (customer_id) WHERE i.value = $1`,
      [`eip155:8453:${address.toLowerCase()}`],
    );
    return rows[0]?.posted;
  }

  async function payOnVenice(payment: SignedPayment) {
    const headers = { 'payment-signature': paymentHeader(payment) };
    const answer = await gateway.app.inject({ method: 'POST', url: '/api/v1/x402/top-up', headers });
    return [answer.statusCode, answer.json().error ?? answer.json().data.newBalance];
  }

  it('that was on the chain before is credit of the wallet that paid, whoever shows it', async () => {
    const [key, otherKey] = await Promise.all([createKey(gateway), createKey(gateway)]);
    const payer = await createPayer(100n);
    const payment = await signDria(payer, gateway, 10n);
    await sendByStranger(payment);
    for (const each of [key, otherKey, key]) {
      const answer = await topUp(gateway.app, { key: each, amount: '10', payment });
      // No offer: whoever moved the money would pay it a second time.
      expect([answer.statusCode, answer.headers['content-type']]).toEqual([409, 'text/plain; charset=utf-8']);
      expect(answer.body).toContain('do not pay again');
      expect(answer.headers['payment-required']).toBeUndefined();
    }
    expect(await balanceOf(gateway.app, key)).toEqual({ balance: 0, balance_usdc: '0.00' });
    expect(await creditOf(payer)).toBe('10000000000');
    expect(await payOnVenice(payment)).toEqual([200, 10]);
  });

  describe('that was claimed by a process that died before it stored it, and then sent by a stranger', () => {
    let keys: [string, string];
    let payer: PrivateKeyAccount;
    let payment: SignedPayment;

    beforeEach(async () => {
      keys = await Promise.all([createKey(gateway), createKey(gateway)]);
      payer = await createPayer(100n);
      payment = await signDria(payer, gateway, 10n);
      const { customer } = await gateway.services.apiKeys.authenticate({
        apiKey: keys[0],
        dialect: 'dria',
        callerAddress: '127.0.0.1',
      });
      await leaveClaim(gateway.sql, payment, customer);
      await sendByStranger(payment);
    });

    const credited = { balance: 1000, balance_usdc: '10.00' };
    const nothing = { balance: 0, balance_usdc: '0.00' };

    it('is credit of the account that claimed it, when it comes back', async () => {
      const call = { key: keys[0], amount: '10', payment };
      const first = await topUp(gateway.app, call);
      expect(first.statusCode).toBe(200);
      expect(first.json()).toMatchObject({ credits_added: 1000, ...credited });
      expect((await topUp(gateway.app, call)).body).toBe(first.body);
      expect(await balanceOf(gateway.app, keys[0])).toEqual(credited);
      expect(await creditOf(payer)).toBeUndefined();
    });

    it('is nobody else’s, whoever shows it and however often', async () => {
      for (let i = 0; i < 2; i += 1) {
        expect((await topUp(gateway.app, { key: keys[1], amount: '10', payment })).statusCode).toBe(503);
        expect(await payOnVenice(payment)).toEqual([409, 'PAYMENT_ALREADY_PROCESSED']);
      }
      expect((await topUp(gateway.app, { key: keys[0], amount: '10', payment })).statusCode).toBe(200);
      const late = await topUp(gateway.app, { key: keys[1], amount: '10', payment });
      expect([late.statusCode, late.json().error]).toEqual([402, 'duplicate_settlement']);
      expect(await payOnVenice(payment)).toEqual([409, 'PAYMENT_ALREADY_PROCESSED']);
      expect(await balanceOf(gateway.app, keys[1])).toEqual(nothing);
      expect(await creditOf(payer)).toBeUndefined();
    });

    it('is credited once when everybody shows it at once', async () => {
      const shown = [keys[0], keys[1], keys[0], keys[1], keys[0]];
      await Promise.all(shown.map(key => topUp(gateway.app, { key, amount: '10', payment })));
      const again = async () =>
        (await topUp(gateway.app, { key: keys[0], amount: '10', payment })).statusCode;
      await expect.poll(again, { timeout: 20_000 }).toBe(200);
      expect(await balanceOf(gateway.app, keys[0])).toEqual(credited);
      expect(await balanceOf(gateway.app, keys[1])).toEqual(nothing);
      expect(await transfersFrom(payer)).toEqual([10_000_000n]);
    });

    it('is not had by a forged signature', async () => {
      const forged = { ...payment, signature: (await signDria(payer, gateway, 11n)).signature };
      await topUp(gateway.app, { key: keys[1], amount: '10', payment: forged });
      expect(await balanceOf(gateway.app, keys[1])).toEqual(nothing);
      expect((await topUp(gateway.app, { key: keys[0], amount: '10', payment })).statusCode).toBe(200);
    });
  });

  it('is credited once when it is sent 20 times at once, with two keys', async () => {
    const keys = await Promise.all([createKey(gateway), createKey(gateway)]);
    const payer = await createPayer(100n);
    const payment = await signDria(payer, gateway, 8n);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        topUp(gateway.app, { key: keys[n % 2] ?? '', amount: '8', payment }),
      ),
    );
    const statuses = answers.map(answer => answer.statusCode);
    expect(statuses).toContain(200);
    for (const answer of answers) {
      expect([200, 402, 503]).toContain(answer.statusCode);
      if (answer.statusCode === 402) expect(answer.json()).toMatchObject({ error: 'duplicate_settlement' });
    }
    const balances = await Promise.all(keys.map(key => balanceOf(gateway.app, key)));
    expect(balances).toEqual(
      expect.arrayContaining([
        { balance: 800, balance_usdc: '8.00' },
        { balance: 0, balance_usdc: '0.00' },
      ]),
    );
    expect(await transfersFrom(payer)).toEqual([8_000_000n]);
  });

  const now = () => BigInt(Math.floor(Date.now() / 1000));
  const stranger = privateKeyToAccount(generatePrivateKey());

  it.each<[string, () => bigint | string, string]>([
    ['from', () => stranger.address, 'invalid_exact_evm_payload_signature'],
    ['to', () => stranger.address, 'invalid_exact_evm_payload_recipient_mismatch'],
    ['value', () => 26_000_000n, 'invalid_exact_evm_payload_authorization_value'],
    ['validAfter', () => now() + 100n, 'invalid_exact_evm_payload_authorization_valid_after'],
    ['validAfter', () => 0n, 'invalid_exact_evm_payload_signature'],
    ['validBefore', () => now(), 'invalid_exact_evm_payload_authorization_valid_before'],
    ['validBefore', () => now() + 250n, 'invalid_exact_evm_payload_signature'],
    ['nonce', () => `0x${'77'.repeat(32)}`, 'invalid_exact_evm_payload_signature'],
  ])('whose %s was changed after signing is refused: %#', async (field, value, error) => {
    const key = await createKey(gateway);
    const payer = await createPayer(100n);
    const payment = await signDria(payer, gateway, 25n);
    const tampered = { ...payment, authorization: { ...payment.authorization, [field]: value() } };
    const answer = await topUp(gateway.app, { key, amount: '25', payment: tampered });
    expect(answer.statusCode).toBe(402);
    expect(answer.json()).toMatchObject({ error, accepts: [{ maxAmountRequired: '25000000' }] });
    expect(await transfersFrom(payer)).toEqual([]);
  });

  it('that the wallet cannot cover is refused, and good once it can', async () => {
    const key = await createKey(gateway);
    const payer = await createPayer(1n);
    const call = { key, amount: '25', payment: await signDria(payer, gateway, 25n) };
    expect((await topUp(gateway.app, call)).json()).toMatchObject({ error: 'insufficient_funds' });
    await mintUsdc(payer.address, 24_000_000n);
    expect((await topUp(gateway.app, call)).statusCode).toBe(200);
  });
});

describe('with a test key', () => {
  it('is paid on Base Sepolia and is test money', async () => {
    const key = await createKey(gateway, { environment: 'test' });
    const payer = privateKeyToAccount(generatePrivateKey());
    await sepolia.mint(payer.address, 100_000_000n);
    const call = {
      key,
      amount: '4.35',
      network: 'base-sepolia',
      payment: await signDria(payer, gateway, 0n, { value: 4_350_000n, domain: SEPOLIA_DOMAIN }),
    };
    const answer = await topUp(gateway.app, call);
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toMatchObject({ credits_added: 435, balance: 435, balance_usdc: '4.35' });
    expect(decodeBase64Json(String(answer.headers['x-payment-response']))).toMatchObject({
      network: 'base-sepolia',
    });
    const stored = await gateway.sql.query(
      `SELECT p.environment, p.network, a.environment AS account_environment
       FROM cell_0.payment p JOIN cell_0.account a USING (account_id) WHERE p.payer = $1`,
      [payer.address.toLowerCase()],
    );
    expect(stored.rows).toEqual([
      { environment: 'test', network: 'eip155:84532', account_environment: 'test' },
    ]);
  });

  it('refuses Base, and a live key refuses Base Sepolia', async () => {
    const payer = await createPayer(100n);
    const live = { key: await createKey(gateway), network: 'base-sepolia' };
    const test = { key: await createKey(gateway, { environment: 'test' }), network: 'base' };
    for (const call of [live, test]) {
      const payment = await signDria(payer, gateway, 5n);
      const answer = await topUp(gateway.app, { ...call, amount: '5', payment });
      expect(answer.statusCode).toBe(402);
      expect(answer.json()).toMatchObject({ error: 'invalid_network' });
    }
    expect(await transfersFrom(payer)).toEqual([]);
  });

  it('cannot be made to meet live money, whatever the program does', async () => {
    const account = await gateway.sql.query<{ account_id: string }>(
      `SELECT account_id FROM cell_0.account WHERE environment = 'test' LIMIT 1`,
    );
    const open = (environment: string, network: string) =>
      gateway.sql.query(
        `SELECT cell_0.open_payment($4, $1, $2, 'eip3009:x:' || gen_random_uuid(), 'dria', 'embedded',
           'exact', $3, 'asset', 'payTo', 'payer', 1, '{}', 0, 0)`,
        [account.rows[0]?.account_id, environment, network, newId()],
      );
    await expect(open('test', 'eip155:8453')).rejects.toMatchObject({ constraint: 'payment_network_fkey' });
    await expect(open('live', 'eip155:8453')).rejects.toThrow('another environment');
  });
});

describe('a payment whose outcome is not known', () => {
  it('is 503 to everybody until the chain tells, and then what the chain says', async () => {
    const [key, otherKey] = await Promise.all([createKey(gateway), createKey(gateway)]);
    const payer = await createPayer(100n);
    const call = { key, amount: '25', payment: await signDria(payer, gateway, 25n) };
    isChainSilent = true;
    const expectUnknown = async (attempt: Parameters<typeof topUp>[1]) => {
      const answer = await topUp(gateway.app, attempt);
      expect(answer.statusCode).toBe(503);
      expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
      expect(answer.headers['retry-after']).toBe('2');
      expect(answer.headers['payment-required']).toBeUndefined();
    };
    await expectUnknown(call);
    await expectUnknown(call);
    await expectUnknown({ ...call, amount: '100' });
    await expectUnknown({ ...call, key: otherKey });
    await expectUnknown({ key, amount: '1' });
    expect((await topUp(gateway.app, { key: otherKey, amount: '1' })).statusCode).toBe(402);
    expect(await balanceOf(gateway.app, key)).toEqual({ balance: 0, balance_usdc: '0.00' });

    isChainSilent = false;
    await expect.poll(async () => (await topUp(gateway.app, call)).statusCode, { timeout: 20_000 }).toBe(200);
    expect((await topUp(gateway.app, { key, amount: '1' })).statusCode).toBe(402);
    expect(await balanceOf(gateway.app, key)).toEqual({ balance: 2500, balance_usdc: '25.00' });
    expect((await topUp(gateway.app, { ...call, key: otherKey })).json()).toMatchObject({
      error: 'duplicate_settlement',
    });
    expect(await transfersFrom(payer)).toEqual([25_000_000n]);
  });

  it('stands in the way of no other signed payment', async () => {
    const key = await createKey(gateway);
    const payer = await createPayer(100n);
    isChainSilent = true;
    const first = { key, amount: '3', payment: await signDria(payer, gateway, 3n) };
    expect((await topUp(gateway.app, first)).statusCode).toBe(503);
    await gateway.sql.query(`UPDATE cell_0.payment SET due_at = now() + interval '1 hour' WHERE payer = $1`, [
      payer.address.toLowerCase(),
    ]);
    isChainSilent = false;
    expect((await topUp(gateway.app, { key, amount: '4' })).statusCode).toBe(503);
    const second = { key, amount: '4', payment: await signDria(payer, gateway, 4n) };
    expect((await topUp(gateway.app, second)).statusCode).toBe(200);
    await gateway.sql.query('UPDATE cell_0.payment SET due_at = now()');
    await expect
      .poll(() => balanceOf(gateway.app, key), { timeout: 20_000 })
      .toEqual({ balance: 700, balance_usdc: '7.00' });
  });
});
