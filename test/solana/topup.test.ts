import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeBase64Json, encodeBase64Json } from '../../src/lib/base64.ts';
import { fundedSolanaWallet, SOLANA_MAINNET, SOLANA_USDC, solanaUsdcBalance } from '../support/solana.ts';
import {
  presentPayment,
  type SolanaGateway,
  solanaCreditOf,
  solanaOffer,
  solanaPaymentHeader,
  startSolanaGateway,
} from '../support/solana-gateway.ts';

let gateway: SolanaGateway;

beforeAll(async () => {
  gateway = await startSolanaGateway();
});

afterAll(async () => {
  await gateway.stop();
});

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

it('24 payments of different wallets at once are all credited', async () => {
  const payers = await Promise.all(Array.from({ length: 24 }, () => wallet(10n)));
  const headers = await Promise.all(payers.map(payer => solanaPaymentHeader(gateway, payer, 6_000_000n)));
  const answers = await Promise.all(headers.map(header => presentPayment(gateway, header)));
  expect(answers.map(answer => answer.statusCode)).toEqual(payers.map(() => 200));
  for (const payer of payers) {
    expect(await solanaCreditOf(gateway, payer.address)).toEqual({ posted: '6000000000', transfers: 1 });
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
