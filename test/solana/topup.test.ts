import { randomBytes } from 'node:crypto';
import type { KeyPairSigner } from '@solana/kit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeBase64Json, encodeBase64Json } from '../../src/lib/base64.ts';
import { sleep } from '../../src/lib/deadline.ts';
import type { TestGateway } from '../support/gateway.ts';
import {
  approveDelegate,
  connectSolana,
  fundedSolanaWallet,
  SOLANA_MAINNET,
  SOLANA_USDC,
  solanaUsdcBalance,
} from '../support/solana.ts';
import {
  ownPaymentHeader,
  presentPayment,
  type SolanaGateway,
  solanaCreditOf,
  solanaOffer,
  solanaPaymentHeader,
  startSolanaGateway,
} from '../support/solana-gateway.ts';
import {
  buildTransaction,
  newSigner,
  paymentInstructions,
  tokenAccountOf,
} from '../support/svm-transaction.ts';

let gateway: SolanaGateway;

beforeAll(async () => {
  // A blockhash lives longer than 200 payments take, and what was executed is confirmed at once.
  gateway = await startSolanaGateway({ local: { slotMs: 1_000, confirmedAfterSlots: 0 } });
});

afterAll(async () => {
  await gateway.stop();
});

const AMOUNT = 5_000_000n;

/** So many different payments of each wallet, signed as they would be for the present offer. */
async function signMany(payers: readonly KeyPairSigner[], each: number, amount: bigint): Promise<string[]> {
  const accepted = await solanaOffer(gateway, amount);
  const orders = payers.flatMap(payer =>
    Array.from({ length: each }, () => ({ payer, payTo: gateway.svmPayTo, amount })),
  );
  // One for all of them, so that the first is as young as the last.
  const { value: latest } = await connectSolana(gateway.chain).getLatestBlockhash().send();
  return Promise.all(
    orders.map(async order => {
      const memo = randomBytes(16).toString('hex');
      const instructions = paymentInstructions({ ...order, memo });
      const transaction = await buildTransaction({ feePayer: gateway.feePayer, instructions, ...latest });
      const offer = { ...accepted, extra: { ...accepted.extra, memo } };
      return encodeBase64Json({ x402Version: 2, accepted: offer, payload: { transaction } });
    }),
  );
}

/** A gateway that has more to do than it can, on a busy machine, says so before it takes a payment: it comes again. */
async function presentPatiently(on: TestGateway, header: string) {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await presentPayment(on, header);
    if (answer.statusCode !== 503 || attempt === MAX_ATTEMPTS) return answer;
    await sleep(Number(answer.headers['retry-after'] ?? 1) * 1_000);
  }
}

const MAX_ATTEMPTS = 5;

const wallet = (usd: bigint) => fundedSolanaWallet(gateway.chain, usd * 1_000_000n);

describe('a top-up on Solana', () => {
  it('is offered after Base, with the fee payer and a memo that is new each time', async () => {
    const answer = await gateway.app.inject({ method: 'POST', url: '/api/v1/x402/top-up' });
    const { accepts } = answer.json<{ accepts: { network: string }[] }>();
    expect(accepts.map(({ network }) => network)).toEqual(['eip155:8453', SOLANA_MAINNET]);
    const [first, second] = await Promise.all([solanaOffer(gateway, 1n), solanaOffer(gateway, 1n)]);
    expect(first).toMatchObject({
      asset: SOLANA_USDC,
      payTo: gateway.svmPayTo,
      extra: { feePayer: gateway.feePayer, memo: expect.stringMatching(/^[0-9a-f]{32}$/) },
    });
    expect(first.extra['memo']).not.toBe(second.extra['memo']);
    expect(decodeBase64Json(String(answer.headers['payment-required']))).toEqual(answer.json());
  });

  it('moves the money, credits the payer and answers with the receipt', async () => {
    const payer = await wallet(100n);
    const answer = await presentPayment(gateway, await solanaPaymentHeader(gateway, payer, 10_000_000n));
    expect(answer.statusCode, answer.body).toBe(200);
    expect(answer.json()).toEqual({
      success: true,
      data: {
        walletAddress: payer.address,
        amountCredited: 10,
        newBalance: 10,
        paymentId: expect.any(String),
      },
    });
    expect(decodeBase64Json(String(answer.headers['payment-response']))).toEqual({
      success: true,
      network: SOLANA_MAINNET,
      payer: payer.address,
      transaction: expect.stringMatching(/^[1-9A-HJ-NP-Za-km-z]{86,88}$/),
    });
    expect(await solanaUsdcBalance(gateway.chain, payer.address)).toBe(90_000_000n);
    expect(await solanaCreditOf(gateway, payer.address)).toEqual({ posted: '10000000000', transfers: 1 });
  });
});

describe('a payment that a delegate signs', () => {
  const payFor = (owner: KeyPairSigner, delegate: KeyPairSigner, amount: bigint) =>
    ownPaymentHeader(gateway, delegate, amount, { source: tokenAccountOf(owner.address) });

  it('takes the owner’s money and credits the delegate, who is the transfer’s authority', async () => {
    const [owner, delegate] = await Promise.all([wallet(100n), newSigner()]);
    await approveDelegate(gateway.chain, owner, delegate, 10_000_000n);
    const answer = await presentPayment(gateway, await payFor(owner, delegate, 10_000_000n));
    expect(answer.statusCode, answer.body).toBe(200);
    expect(answer.json()).toMatchObject({ data: { walletAddress: delegate.address, amountCredited: 10 } });
    expect(decodeBase64Json(String(answer.headers['payment-response']))).toMatchObject({
      success: true,
      payer: delegate.address,
    });
    expect(await solanaUsdcBalance(gateway.chain, owner.address)).toBe(90_000_000n);
    expect(await solanaCreditOf(gateway, delegate.address)).toEqual({ posted: '10000000000', transfers: 1 });
    expect(await solanaCreditOf(gateway, owner.address)).toBeUndefined();
  });

  it('is refused beyond the allowance, and without one', async () => {
    const [owner, delegate, stranger] = await Promise.all([wallet(100n), newSigner(), newSigner()]);
    await approveDelegate(gateway.chain, owner, delegate, 9_999_999n);
    for (const signer of [delegate, stranger]) {
      const answer = await presentPayment(gateway, await payFor(owner, signer, 10_000_000n));
      expect(answer.statusCode, answer.body).toBe(400);
      expect(await solanaCreditOf(gateway, signer.address)).toBeUndefined();
    }
    expect(await solanaUsdcBalance(gateway.chain, owner.address)).toBe(100_000_000n);
  });
});

describe('the same payment', () => {
  it('presented again gets the stored answer, and a different one of the same wallet is its own', async () => {
    const payer = await wallet(100n);
    const header = await solanaPaymentHeader(gateway, payer, 5_000_000n);
    const first = await presentPayment(gateway, header);
    await presentPayment(gateway, await solanaPaymentHeader(gateway, payer, 5_000_000n));
    const again = await presentPayment(gateway, header);
    expect(again.statusCode, again.body).toBe(200);
    expect(again.json()).toEqual(first.json());
    expect(again.headers['payment-response']).toBe(first.headers['payment-response']);
    expect(await solanaCreditOf(gateway, payer.address)).toEqual({ posted: '10000000000', transfers: 2 });
  });

  it('presented 30 times at once, also to two replicas, is credited once', async () => {
    const replica = await gateway.replica();
    try {
      const payer = await wallet(100n);
      const header = await solanaPaymentHeader(gateway, payer, 5_000_000n);
      const answers = await Promise.all(
        Array.from({ length: 30 }, (_, index) => presentPayment(index % 2 ? replica : gateway, header)),
      );
      const statuses = answers.map(answer => answer.statusCode);
      expect(statuses.filter(status => status === 200).length).toBeGreaterThanOrEqual(1);
      expect(statuses.every(status => status === 200 || status === 409)).toBe(true);
      expect(await solanaUsdcBalance(gateway.chain, payer.address)).toBe(95_000_000n);
      expect(await solanaCreditOf(gateway, payer.address)).toEqual({ posted: '5000000000', transfers: 1 });
    } finally {
      await replica.stop();
    }
  });

  it('given to two replicas at once, 100 times, is credited once each time', async () => {
    const replica = await gateway.replica();
    try {
      const payers = await Promise.all(Array.from({ length: 10 }, () => wallet(100n)));
      const headers = await signMany(payers, 10, AMOUNT);
      for (let start = 0; start < headers.length; start += 10) {
        const answers = await Promise.all(
          headers
            .slice(start, start + 10)
            .flatMap(header => [presentPatiently(gateway, header), presentPatiently(replica, header)]),
        );
        for (const { statusCode, body } of answers) expect([200, 409], body).toContain(statusCode);
      }
      for (const payer of payers) {
        expect(await solanaCreditOf(gateway, payer.address)).toEqual({
          posted: '50000000000',
          transfers: 10,
        });
        expect(await solanaUsdcBalance(gateway.chain, payer.address)).toBe(50_000_000n);
      }
    } finally {
      await replica.stop();
    }
  });

  it('with the fee payer’s place or version 1’s shape changed is the same payment', async () => {
    const payer = await wallet(100n);
    const header = await solanaPaymentHeader(gateway, payer, 5_000_000n);
    const first = await presentPayment(gateway, header);
    const { payload } = decodeBase64Json(header) as { payload: { transaction: string } };
    const bytes = Buffer.from(payload.transaction, 'base64');
    bytes.fill(9, 1, 65);
    const touched = { transaction: bytes.toString('base64') };
    const older = { x402Version: 1, scheme: 'exact', network: 'solana', payload: touched };
    const again = await presentPayment(gateway, encodeBase64Json(older));
    expect(again.statusCode, again.body).toBe(200);
    expect(again.json()).toEqual(first.json());
  });
});

it('200 payments at once from 20 wallets are all credited, and none is lost', async () => {
  const payers = await Promise.all(Array.from({ length: 20 }, () => wallet(100n)));
  const headers = await signMany(payers, 10, AMOUNT);
  const answers = await Promise.all(headers.map(header => presentPatiently(gateway, header)));
  expect(answers.filter(({ statusCode }) => statusCode !== 200).map(({ body }) => body)).toEqual([]);
  for (const payer of payers) {
    expect(await solanaCreditOf(gateway, payer.address)).toEqual({ posted: '50000000000', transfers: 10 });
    expect(await solanaUsdcBalance(gateway.chain, payer.address)).toBe(50_000_000n);
  }
});

it('chain and books are the same afterwards', async () => {
  const report = await gateway.services.reconcile();
  expect(report).toMatchObject({ settledNotCredited: [], creditedNotOnChain: [], pending: [], suspense: [] });
  expect(report.networks.map(({ network, problem }) => [network, problem])).toContainEqual([
    SOLANA_MAINNET,
    undefined,
  ]);
});

it('readiness tells of the node and the fee payer’s SOL', async () => {
  const answer = await gateway.app.inject('/readyz');
  expect(answer.statusCode, answer.body).toBe(200);
  expect(answer.body).toContain('Solana gas');
});
