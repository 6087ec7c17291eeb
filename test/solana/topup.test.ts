import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeBase64Json } from '../../src/lib/base64.ts';
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
