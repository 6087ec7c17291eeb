import { type Blockhash, type KeyPairSigner } from '@solana/kit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { connectSolana, fundedSolanaWallet, SOLANA_MAINNET, solanaUsdcBalance } from '../support/solana.ts';
import {
  presentPayment,
  type SolanaGateway,
  solanaCreditOf,
  solanaPaymentHeader,
  startSolanaGateway,
} from '../support/solana-gateway.ts';
import { newSvmKey } from '../support/svm-key.ts';
import {
  buildTransaction,
  computeLimit,
  computePrice,
  memo,
  newSigner,
  paymentInstructions,
  randomAddress,
  randomBlockhash,
  tokenAccountOf,
  transfer,
} from '../support/svm-transaction.ts';

let gateway: SolanaGateway;
let payer: KeyPairSigner;

beforeAll(async () => {
  gateway = await startSolanaGateway();
  payer = await fundedSolanaWallet(gateway.chain, 1_000_000_000n);
});

afterAll(async () => {
  await gateway.stop();
});

async function latestBlockhash(): Promise<Blockhash> {
  const { value } = await connectSolana(gateway.chain).getLatestBlockhash().send();
  return value.blockhash;
}

type Parts = Parameters<typeof buildTransaction>[0]['instructions'];

async function present(instructions: Parts, changes: { feePayer?: string; blockhash?: Blockhash } = {}) {
  const blockhash = changes.blockhash ?? (await latestBlockhash());
  const feePayer = changes.feePayer ?? gateway.feePayer;
  const transaction = await buildTransaction({ feePayer, instructions, blockhash });
  return presentTransaction(transaction);
}

function presentTransaction(transaction: string) {
  const header = { x402Version: 2, scheme: 'exact', network: 'solana', payload: { transaction } };
  return presentPayment(gateway, encodeBase64Json(header));
}

const pay = (changes: Partial<Parameters<typeof transfer>[0]> = {}) =>
  transfer({ payer, payTo: gateway.svmPayTo, amount: 5_000_000n, ...changes });
const good = (changes: Partial<Parameters<typeof transfer>[0]> = {}) =>
  paymentInstructions({ payer, payTo: gateway.svmPayTo, amount: 5_000_000n, ...changes });

async function rowsStored(): Promise<number> {
  const { rows } = await gateway.sql.query<{ n: number }>(
    `SELECT (SELECT count(*) FROM cell_0.payment)::int + (SELECT count(*) FROM directory.payment_claim)::int
       + (SELECT count(*) FROM directory.svm_transaction)::int AS n`,
  );
  return rows[0]?.n ?? -1;
}

describe('what is no honest payment is refused, stores nothing and costs nothing', () => {
  it.each<[string, string, () => Parts]>([
    [
      'a priority fee that eats us',
      'PAYMENT_VERIFICATION_FAILED',
      () => good().with(1, computePrice(5_000_000n)),
    ],
    [
      'all the compute units there are',
      'PAYMENT_VERIFICATION_FAILED',
      () => good().with(0, computeLimit(1_400_000)),
    ],
    [
      'a second transfer behind the first',
      'PAYMENT_VERIFICATION_FAILED',
      () => [...good(), pay({ amount: 1n })],
    ],
    [
      'the fee payer lent to a memo',
      'PAYMENT_VERIFICATION_FAILED',
      () => good().with(3, memo('x', gateway.feePayer as never)),
    ],
    ['less than the minimum', 'AMOUNT_TOO_LOW', () => good({ amount: 4_999_999n })],
    ['more than the maximum', 'AMOUNT_TOO_HIGH', () => good({ amount: 10_000_000_001n })],
    ['another receiver', 'INVALID_PAYMENT_RECIPIENT', () => good({ payTo: randomAddress() })],
    ['another mint', 'UNSUPPORTED_TOKEN', () => good({ mint: randomAddress() })],
    [
      'nothing that moves money',
      'INVALID_PAYMENT',
      () => [computeLimit(1), computePrice(1n), memo('x', payer.address)],
    ],
    ['more than the wallet holds', 'PAYMENT_VERIFICATION_FAILED', () => good({ amount: 5_000_000_000n })],
    [
      'somebody else’s money',
      'PAYMENT_VERIFICATION_FAILED',
      () => good({ source: tokenAccountOf(gateway.svmPayTo) }),
    ],
  ])('%s', async (_, code, instructions) => {
    const before = await rowsStored();
    const answer = await present(instructions());
    expect(answer.statusCode, answer.body).toBe(400);
    expect(answer.json<{ error: string }>().error).toBe(code);
    expect(await rowsStored()).toBe(before);
  });

  it('a fee payer that is not ours', async () => {
    const answer = await present(good(), { feePayer: newSvmKey().address });
    expect(answer.statusCode, answer.body).toBe(400);
    expect(answer.json<{ details: { reason: string } }>().details.reason).toBe(
      'invalid_exact_svm_fee_payer_not_managed_by_facilitator',
    );
  });

  it('the fee payer as the one who pays', async () => {
    const answer = await presentTransaction(
      await buildTransaction({
        feePayer: gateway.feePayer,
        blockhash: await latestBlockhash(),
        instructions: good({ payer: { ...payer, address: gateway.feePayer } as KeyPairSigner }),
      }).catch(() => 'AA=='),
    );
    expect(answer.statusCode).toBe(400);
  });

  it('a signature that is missing or forged', async () => {
    const transaction = await buildTransaction({
      feePayer: gateway.feePayer,
      blockhash: await latestBlockhash(),
      instructions: good(),
    });
    for (const byte of [0, 1]) {
      const bytes = Buffer.from(transaction, 'base64');
      if (byte === 0) bytes.fill(0, 65, 129);
      else bytes[65] = (bytes[65] ?? 0) ^ 1;
      const answer = await presentTransaction(bytes.toString('base64'));
      expect(answer.statusCode, answer.body).toBe(400);
      expect(answer.json<{ details: { reason: string } }>().details.reason).toBe(
        'invalid_exact_svm_payload_signature_invalid',
      );
    }
  });

  it('a wallet without a token account, and a blockhash that nobody knows', async () => {
    const poor = await newSigner();
    expect((await present(good({ payer: poor }))).statusCode).toBe(400);
    const answer = await present(good(), { blockhash: randomBlockhash() });
    expect(answer.statusCode).toBe(400);
    expect(answer.json<{ message: string }>().message).toContain('blockhash');
  });

  it('none of these moved money or was credited', async () => {
    expect(await solanaUsdcBalance(gateway.chain, payer.address)).toBe(1_000_000_000n);
    expect(await solanaUsdcBalance(gateway.chain, gateway.svmPayTo)).toBe(0n);
    expect(await rowsStored()).toBe(0);
  });
});

describe('a replay', () => {
  it('with another signer’s signature in the payer’s place is not answered as the payment', async () => {
    const wallet = await fundedSolanaWallet(gateway.chain, 10_000_000n);
    const header = await solanaPaymentHeader(gateway, wallet, 5_000_000n);
    expect((await presentPayment(gateway, header)).statusCode).toBe(200);
    const root = JSON.parse(Buffer.from(header, 'base64').toString()) as { payload: { transaction: string } };
    const bytes = Buffer.from(root.payload.transaction, 'base64');
    bytes.fill(3, 65, 129);
    const forged = { ...root, payload: { transaction: bytes.toString('base64') } };
    const answer = await presentPayment(gateway, encodeBase64Json(forged));
    expect(answer.statusCode).toBe(400);
    expect(await solanaCreditOf(gateway, wallet.address)).toEqual({ posted: '5000000000', transfers: 1 });
  });

  it('in a spelling that only the wallet’s letters tell apart is another wallet’s', async () => {
    const { rows } = await gateway.sql.query<{ value: string }>(
      `SELECT value FROM directory.customer_identity WHERE value LIKE $1`,
      [`${SOLANA_MAINNET}:%`],
    );
    for (const { value } of rows) expect(value).not.toBe(value.toLowerCase());
  });
});
