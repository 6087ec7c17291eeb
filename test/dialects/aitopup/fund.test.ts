import type { AddressInfo } from 'node:net';
import { getBase58Encoder, type KeyPairSigner } from '@solana/kit';
import type { PaymentRequirements } from '@x402/core/types';
import { encodeFunctionData, erc20Abi } from 'viem';
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAddress } from 'viem/accounts';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { decodeBase64Json, encodeBase64Json } from '../../../src/lib/base64.ts';
import { unavailable } from '../../../src/lib/errors.ts';
import { mintUsdc, sendAsPayer, usdcTransfersTo } from '../../support/chain.ts';
import { startGateway } from '../../support/gateway.ts';
import { BASE_USDC, createPayer, paymentHeader, paymentJson, signPayment } from '../../support/payment.ts';
import { runClient } from '../../support/run-client.ts';
import { fundedSolanaWallet, SOLANA_MAINNET, signSolanaPayment } from '../../support/solana.ts';
import { type SolanaGateway, startSolanaGateway } from '../../support/solana-gateway.ts';
import { newSvmKey } from '../../support/svm-key.ts';
import { type Answered, balance, call, createCaller, PREFIX, send } from './aitopup-gateway.ts';

const BASE = 'eip155:8453';

/** What goes wrong right now. */
const faults = {
  /** The chain shows nothing of any payment. */
  silent: false,
  beforeSend: undefined as (() => Promise<unknown>) | undefined,
};

let gateway: SolanaGateway;

beforeAll(async () => {
  gateway = await startSolanaGateway({
    seams: {
      chain: chain => ({
        ...chain,
        proveSettlement: (payment, hint) =>
          faults.silent ? Promise.reject(unavailable('the node')) : chain.proveSettlement(payment, hint),
      }),
      evmClient: client => ({
        ...client,
        async sendRawTransaction(raw) {
          await faults.beforeSend?.();
          await client.sendRawTransaction(raw);
        },
      }),
      settleWaitMs: 1_500,
      reconcileEveryMs: 100,
    },
  });
  await gateway.app.listen({ host: '127.0.0.1', port: 0 });
});

afterEach(() => {
  faults.silent = false;
  faults.beforeSend = undefined;
});

afterAll(() => gateway?.stop());

interface Offer {
  x402Version: number;
  error: string;
  resource: { url: string };
  accepts: [PaymentRequirements, ...PaymentRequirements[]];
}

const createOwner = async () => (await createCaller(gateway, { environment: 'live', cents: 0n })).apiKey;

function fund(key: string, headers: Record<string, string> = {}, cents: unknown = 2_500): Promise<Answered> {
  return call(gateway.app, '/topup/fund', { key, body: { amount_cents: cents }, headers });
}

const offerOf = ({ headers }: Answered) => decodeBase64Json(String(headers['payment-required'])) as Offer;
const receiptOf = ({ headers }: Answered) => decodeBase64Json(String(headers['payment-response']));

/** The header that pays an offer of so many cents on Base. */
async function pay(payer: PrivateKeyAccount, cents = 2_500n): Promise<Record<string, string>> {
  const payload = paymentJson(await signPayment(payer, gateway.payTo, cents * 10_000n));
  const accepted = { ...(await baseOffer()), amount: (cents * 10_000n).toString() };
  return { 'payment-signature': encodeBase64Json({ x402Version: 2, accepted, payload }) };
}

async function baseOffer(): Promise<PaymentRequirements> {
  const { accepts } = offerOf(await fund(await createOwner()));
  return accepts[0];
}

const transfersFrom = async (payer: PrivateKeyAccount) =>
  (await usdcTransfersTo(gateway.payTo)).filter(each => each.from === payer.address.toLowerCase()).length;

const UNKNOWN = { status: 503, code: 5000, success: false, data: { reason: 'settlement_pending' } };

describe('the wallet of a key', () => {
  it('is filled by an x402 payment, once', async () => {
    const key = await createOwner();
    const asked = await fund(key);
    expect(asked).toMatchObject({
      status: 402,
      code: 2002,
      success: false,
      data: { reason: 'payment_required' },
    });
    expect(offerOf(asked)).toMatchObject({
      x402Version: 2,
      resource: { url: 'http://127.0.0.1:4020/api/public/v1/topup/fund' },
      accepts: [
        { scheme: 'exact', network: BASE, amount: '25000000', payTo: gateway.payTo.toLowerCase() },
        { scheme: 'exact', network: SOLANA_MAINNET, amount: '25000000', payTo: gateway.svmPayTo },
      ],
    });
    const payer = await createPayer(100n);
    const header = await pay(payer);
    const wrong = await fund(key, header, 2_600);
    expect(wrong).toMatchObject({ status: 402, code: 2002, data: { reason: 'payment_refused' } });
    expect([await balance(gateway.app, key), await transfersFrom(payer)]).toEqual([0, 0]);

    const paid = await fund(key, header);
    expect(paid).toMatchObject({
      status: 200,
      code: 1000,
      data: {
        amount_cents: 2_500,
        wallet_balance_cents: 2_500,
        currency: 'USD',
        environment: 'live',
        transaction: expect.stringMatching(/^0x/),
      },
    });
    expect(receiptOf(paid)).toEqual({
      success: true,
      network: BASE,
      payer: payer.address.toLowerCase(),
      transaction: paid.data['transaction'],
    });
    expect(paid.headers).not.toHaveProperty('payment-required');
    const again = await fund(key, header);
    expect(again).toMatchObject({ code: 1000, data: { payment_id: paid.data['payment_id'] } });
    const other = await createOwner();
    for (const [who, cents] of [
      [other, 2_500],
      // The same payment cannot have been of another amount, and it must not be paid once more.
      [key, 2_600],
      [other, 2_600],
    ] as const) {
      const refused = await fund(who, header, cents);
      expect(refused).toMatchObject({ status: 409, code: 2006, data: { reason: 'payment_conflict' } });
      expect(refused.headers).not.toHaveProperty('payment-required');
    }
    expect([await balance(gateway.app, key), await balance(gateway.app, other)]).toEqual([2_500, 0]);
    expect(await transfersFrom(payer)).toBe(1);
  });

  it('is not filled by what is no payment, and not by the headers of version 1', async () => {
    const key = await createOwner();
    const payer = await createPayer(100n);
    const good = await pay(payer);
    const old = paymentHeader(await signPayment(payer, gateway.payTo, 25_000_000n), { x402Version: 1 });
    expect(await fund(key, { 'payment-signature': 'bm90aGluZw==' })).toMatchObject({
      status: 400,
      code: 2000,
    });
    expect(await fund(key, { 'payment-signature': `${good['payment-signature']},x` })).toMatchObject({
      status: 400,
      code: 2000,
    });
    for (const header of ['x-payment', 'x-402-payment']) {
      expect(await fund(key, { [header]: old })).toMatchObject({
        status: 402,
        code: 2002,
        data: { reason: 'payment_required' },
      });
    }
    for (const cents of [99, 1_000_001, '2500', 2_500.5, null]) {
      expect(await fund(key, good, cents)).toMatchObject({ status: 400, code: 2005 });
    }
    expect([await balance(gateway.app, key), await transfersFrom(payer)]).toEqual([0, 0]);
  });
});

describe('a payment whose outcome is not known', () => {
  it('is 503 to everybody, stands in the way of a new offer, and is credited in the end', async () => {
    const [key, other] = [await createOwner(), await createOwner()];
    const payer = await createPayer(100n);
    const header = await pay(payer);
    faults.silent = true;
    const first = await fund(key, header);
    expect(first).toMatchObject({ ...UNKNOWN, headers: { 'retry-after': '3' } });
    expect(receiptOf(first)).toEqual({
      success: false,
      errorReason: 'settlement_pending',
      network: BASE,
      payer: payer.address.toLowerCase(),
      transaction: expect.stringMatching(/^0x[0-9a-f]{64}$/),
    });
    const status = await gateway.app.inject({ url: `/payments/${String(first.data['payment_id'])}` });
    expect(status.json()).toMatchObject({ state: 'pending' });
    // The payment, the payment of another amount or for somebody else, and no payment.
    for (const answer of [
      await fund(key, header),
      await fund(key, header, 2_600),
      await fund(other, header, 2_600),
      await fund(key),
    ]) {
      expect(answer).toMatchObject(UNKNOWN);
      expect(answer.headers).not.toHaveProperty('payment-required');
    }
    expect(await fund(other, header)).toMatchObject({ status: 409, code: 2006 });
    expect(await fund(other)).toMatchObject({ status: 402, code: 2002 });

    faults.silent = false;
    await vi.waitFor(async () => expect(await fund(key, header)).toMatchObject({ code: 1000 }), 20_000);
    expect(await fund(key)).toMatchObject({ status: 402, code: 2002 });
    expect([await balance(gateway.app, key), await transfersFrom(payer)]).toEqual([2_500, 1]);
  });

  it('while it is settled for another request is 503, too', async () => {
    const key = await createOwner();
    const payer = await createPayer(100n);
    const header = await pay(payer);
    let goOn = () => {};
    const held = new Promise<void>(resolve => {
      goOn = resolve;
    });
    let isSending = false;
    faults.beforeSend = () => {
      isSending = true;
      return held;
    };
    const first = fund(key, header);
    await vi.waitFor(() => expect(isSending).toBe(true), 10_000);
    const second = await fund(key, header);
    faults.beforeSend = undefined;
    goOn();
    expect(second).toMatchObject({ ...UNKNOWN, data: { payment_id: expect.any(String) } });
    await first;
    await vi.waitFor(async () => expect(await fund(key, header)).toMatchObject({ code: 1000 }), 20_000);
    expect([await balance(gateway.app, key), await transfersFrom(payer)]).toEqual([2_500, 1]);
  });
});

describe('a payment that fails', () => {
  it('on the chain is 402 with its receipt and a fresh offer', async () => {
    const key = await createOwner();
    const payer = await createPayer(25n);
    const header = await pay(payer);
    // The wallet is emptied between the verification and the settlement.
    const away = privateKeyToAddress(generatePrivateKey());
    const transfer = encodeFunctionData({
      abi: erc20Abi,
      functionName: 'transfer',
      args: [away, 25_000_000n],
    });
    faults.beforeSend = () => sendAsPayer(payer, BASE_USDC, transfer);
    const failed = await fund(key, header);
    faults.beforeSend = undefined;
    expect(failed).toMatchObject({
      status: 402,
      code: 2002,
      data: { reason: 'payment_refused', x402_error: 'reverted' },
    });
    expect(receiptOf(failed)).toEqual({
      success: false,
      errorReason: 'reverted',
      network: BASE,
      payer: payer.address.toLowerCase(),
      transaction: expect.stringMatching(/^0x[0-9a-f]{64}$/),
    });
    expect(offerOf(failed)).toMatchObject({ error: 'reverted', accepts: [{ network: BASE }, {}] });
    expect([await balance(gateway.app, key), await transfersFrom(payer)]).toEqual([0, 0]);
  });

  it('before it is sent is 402 with its reason', async () => {
    const refused = await fund(await createOwner(), await pay(await createPayer(1n)));
    expect(refused).toMatchObject({
      status: 402,
      code: 2002,
      data: { reason: 'payment_refused', x402_error: expect.stringMatching(/insufficient/) },
    });
    expect(receiptOf(refused)).toMatchObject({ success: false, transaction: '' });
    expect(offerOf(refused).accepts.length).toBe(2);
  });
});

describe('on Solana', () => {
  const solanaOffer = async (key: string, cents?: number) => {
    const offer = offerOf(await fund(key, {}, cents)).accepts.find(each => each.network === SOLANA_MAINNET);
    if (!offer) throw new Error('nothing is offered on Solana');
    return offer;
  };

  async function paySolana(wallet: KeyPairSigner, offer: PaymentRequirements) {
    return {
      'payment-signature': encodeBase64Json(await signSolanaPayment(gateway.chain, wallet, offer)),
    };
  }

  it('the offer names who pays the fee and a memo that is new each time, and is paid once', async () => {
    const key = await createOwner();
    const [offer, next] = [await solanaOffer(key), await solanaOffer(key)];
    expect(offer.extra).toMatchObject({
      feePayer: gateway.feePayer,
      memo: expect.stringMatching(/^[0-9a-f]{32}$/),
    });
    expect(next.extra['memo']).not.toBe(offer.extra['memo']);
    const wallet = await fundedSolanaWallet(gateway.chain, 100_000_000n);
    const header = await paySolana(wallet, offer);
    const wrong = await fund(key, header, 2_600);
    expect(wrong).toMatchObject({ status: 402, code: 2002, data: { reason: 'payment_refused' } });
    const paid = await fund(key, header);
    expect(paid).toMatchObject({
      code: 1000,
      data: { wallet_balance_cents: 2_500, network: SOLANA_MAINNET },
    });
    expect(receiptOf(paid)).toMatchObject({ success: true, network: SOLANA_MAINNET, payer: wallet.address });
    expect((await fund(key, header)).data).toMatchObject({ payment_id: paid.data['payment_id'] });
    expect(await fund(key, await paySolana(wallet, next))).toMatchObject({
      data: { wallet_balance_cents: 5_000 },
    });
  });

  it('a memo that cannot be stored is refused', async () => {
    const key = await createOwner();
    const offer = await solanaOffer(key);
    const wallet = await fundedSolanaWallet(gateway.chain, 100_000_000n);
    const odd = { ...offer, extra: { ...offer.extra, memo: 'a\0b' } };
    expect(await fund(key, await paySolana(wallet, odd))).toMatchObject({ status: 400, code: 2000 });
  });

  it('nothing is offered while nobody pays the fee', async () => {
    // This facilitator is never reached, so it never says who would pay.
    const settings = { FACILITATORS: 'http://127.0.0.1:1', NETWORKS: SOLANA_MAINNET };
    const alone = await startGateway({ replicaOf: gateway, settings });
    const answer = await call(alone.app, '/topup/fund', {
      key: await createOwner(),
      body: { amount_cents: 2_500 },
    });
    await alone.stop();
    expect(answer).toMatchObject({ status: 503, code: 5000, data: { reason: 'unavailable' } });
    expect(answer.headers['retry-after']).toEqual(expect.any(String));
  });
});

describe('@x402/fetch 2.27.0', () => {
  const client = (key: string, path: string, body: object, more: object) =>
    runClient('x402-fetch-process.mjs', {
      url: `http://127.0.0.1:${(gateway.app.server.address() as AddressInfo).port}${PREFIX}${path}`,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      maxAmountPerPayment: '$25',
      ...more,
    });

  it('fills the wallet on Base and reads the envelope and the receipt', async () => {
    const key = await createOwner();
    const privateKey = generatePrivateKey();
    const address = privateKeyToAddress(privateKey);
    await mintUsdc(address, 100_000_000n);
    const answer = await client(key, '/topup/fund', { amount_cents: 2_500 }, { privateKey });
    expect(answer).toMatchObject({
      status: 200,
      body: { success: true, code: 1000, data: { wallet_balance_cents: 2_500 } },
      receipt: { success: true, network: BASE, payer: address.toLowerCase() },
    });
    expect(await balance(gateway.app, key)).toBe(2_500);
  });

  it('fills it on Solana', async () => {
    const key = await createOwner();
    const wallet = newSvmKey();
    await Promise.all([
      gateway.chain.airdrop(wallet.address, 100_000_000n),
      gateway.chain.mint(wallet.address, 100_000_000n),
    ]);
    const solana = {
      key: Buffer.from(getBase58Encoder().encode(wallet.secret)).toString('base64'),
      rpcUrl: gateway.chain.rpcUrl,
    };
    expect(await client(key, '/topup/fund', { amount_cents: 2_500 }, { solana })).toMatchObject({
      status: 200,
      body: { success: true, code: 1000, data: { wallet_balance_cents: 2_500, network: SOLANA_MAINNET } },
      receipt: { success: true, network: SOLANA_MAINNET, payer: wallet.address },
    });
  });

  it('takes the 402 of a wallet without money for an offer, and finds none in the envelope', async () => {
    // Whoever wraps the calls of this dialect sends without the wrapper, and fills the wallet with it.
    const key = await createOwner();
    const privateKey = generatePrivateKey();
    const order = { platform: 'claude', amount_cents: 1_000 };
    expect(await send(gateway.app, key)).toMatchObject({ status: 402, code: 2002 });
    const answer = await client(key, '/topup/send', order, { privateKey });
    expect(answer).toEqual({ error: expect.stringMatching(/payment require/i) });
  });
});
