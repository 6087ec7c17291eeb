import type { AddressInfo } from 'node:net';
import type { Instruction, KeyPairSigner } from '@solana/kit';
import { HTTPFacilitatorClient } from '@x402/core/server';
import type { PaymentPayload, PaymentRequirements } from '@x402/core/types';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unavailable } from '../../src/lib/errors.ts';
import {
  connectSolana,
  fundedSolanaWallet,
  SOLANA_MAINNET,
  SOLANA_USDC,
  signSolanaPayment,
  solanaRequirements,
  solanaUsdcBalance,
} from '../support/solana.ts';
import {
  presentPayment,
  type SolanaGateway,
  solanaOffer,
  startSolanaGateway,
} from '../support/solana-gateway.ts';
import { newSvmKey } from '../support/svm-key.ts';
import { buildTransaction, computeLimit, computePrice, memo, transfer } from '../support/svm-transaction.ts';

const KEYS = { 'shop-a': 'key-of-shop-a'.repeat(4), 'shop-b': 'key-of-shop-b'.repeat(4) };
const AMOUNT = 3_000_000n;

/** Another seller: nobody here has its key. */
const SELLER = newSvmKey().address;

/** While true, the node does not tell what became of transactions. */
let blind = false;
/** While true, the node takes no transactions. */
let deaf = false;
let gateway: SolanaGateway;
let origin: string;

beforeAll(async () => {
  gateway = await startSolanaGateway({
    settings: { FACILITATOR_API_KEYS: JSON.stringify(KEYS) },
    seams: {
      settleWaitMs: 1_500,
      reconcileEveryMs: 3_600_000,
      maintainSenderEveryMs: 3_600_000,
      svmClient: client => ({
        ...client,
        send: wire => (deaf ? Promise.reject(unavailable('the Solana node')) : client.send(wire)),
        signatureStatuses: (...args) =>
          blind ? Promise.reject(unavailable('the Solana node')) : client.signatureStatuses(...args),
      }),
    },
  });
  await gateway.chain.mint(SELLER, 0n);
  await gateway.app.listen({ host: '127.0.0.1', port: 0 });
  origin = `http://127.0.0.1:${(gateway.app.server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  await gateway.stop();
});

/** The official client, as another seller's middleware uses it. */
function clientOf(caller: keyof typeof KEYS): HTTPFacilitatorClient {
  const headers = { Authorization: `Bearer ${KEYS[caller]}` };
  return new HTTPFacilitatorClient({
    url: `${origin}/facilitator`,
    createAuthHeaders: () => Promise.resolve({ verify: headers, settle: headers, supported: headers }),
  });
}

type Wire = readonly [PaymentPayload, PaymentRequirements];

const newWallet = () => fundedSolanaWallet(gateway.chain, 100_000_000n);

function requirements(changed: Partial<PaymentRequirements> = {}): PaymentRequirements {
  const order = {
    payTo: SELLER,
    feePayer: gateway.feePayer,
    amountBaseUnits: AMOUNT,
    memo: `order-${Math.random()}`,
  };
  return { ...solanaRequirements(order), ...changed };
}

/** Signed by the published client for another seller's requirements. */
async function newPayment(wallet?: KeyPairSigner): Promise<Wire> {
  const asked = requirements();
  return [await signSolanaPayment(gateway.chain, wallet ?? (await newWallet()), asked), asked];
}

/** The same payment as version 1 says it. */
function asVersion1([{ payload }, { amount, ...asked }]: Wire): Wire {
  const requirements1 = {
    ...asked,
    network: 'solana',
    maxAmountRequired: amount,
    resource: 'https://shop.example.com/thing',
    description: 'a thing',
    mimeType: 'application/json',
  };
  const payload1 = { x402Version: 1, scheme: 'exact', network: 'solana', payload };
  return [payload1 as unknown as PaymentPayload, requirements1 as unknown as PaymentRequirements];
}

/** A payment of the test's own instructions. */
async function customPayment(
  change: (instructions: Instruction[], memoText: string) => Instruction[],
): Promise<Wire> {
  const wallet = await newWallet();
  const asked = requirements();
  const text = String(asked.extra['memo']);
  const plain = [
    computeLimit(20_000),
    computePrice(1n),
    transfer({ payer: wallet, payTo: SELLER, amount: AMOUNT }),
    memo(text),
  ];
  const { value } = await connectSolana(gateway.chain).getLatestBlockhash().send();
  const instructions = change(plain, text);
  const order = { feePayer: gateway.feePayer, instructions, blockhash: value.blockhash };
  const payload = { transaction: await buildTransaction(order) };
  return [{ x402Version: 2, accepted: asked, payload }, asked];
}

const earned = () => solanaUsdcBalance(gateway.chain, SELLER);

async function ledgerRows(): Promise<number> {
  const { rows } = await gateway.sql.query(
    'SELECT (SELECT count(*) FROM cell_0.transfer)::int + (SELECT count(*) FROM cell_0.payment)::int AS n',
  );
  return rows[0].n;
}

describe('the gateway as a facilitator on Solana', () => {
  it('says that it settles there, in both versions, and who pays the fee', async () => {
    const { kinds, signers } = await clientOf('shop-a').getSupported();
    const extra = { feePayer: gateway.feePayer };
    expect(kinds).toEqual([
      { x402Version: 2, scheme: 'exact', network: 'eip155:8453' },
      { x402Version: 1, scheme: 'exact', network: 'base' },
      { x402Version: 2, scheme: 'exact', network: SOLANA_MAINNET, extra },
      { x402Version: 1, scheme: 'exact', network: 'solana', extra },
    ]);
    expect(signers).toEqual({ 'eip155:*': [expect.any(String)], 'solana:*': [gateway.feePayer] });
  });

  it.each([
    ['version 2', (wire: Wire) => wire, SOLANA_MAINNET],
    ['version 1', asVersion1, 'solana'],
  ])(
    'verifies and settles a payment to another seller in %s, and credits nobody',
    async (_, spell, network) => {
      const client = clientOf('shop-a');
      const wallet = await newWallet();
      const wire = spell(await newPayment(wallet));
      const [before, rows] = [await earned(), await ledgerRows()];
      const payer = wallet.address;
      expect(await client.verify(...wire)).toMatchObject({ isValid: true, payer });
      expect(await earned()).toBe(before);
      const settled = await client.settle(...wire);
      expect(settled).toMatchObject({ success: true, network, payer });
      expect(settled.transaction).toMatch(/^[1-9A-HJ-NP-Za-km-z]{86,88}$/);
      expect([await earned(), await ledgerRows()]).toEqual([before + AMOUNT, rows]);
    },
  );

  it('answers the same call by the same caller with the stored success, and no other caller', async () => {
    const wire = await newPayment();
    const before = await earned();
    const first = await clientOf('shop-a').settle(...wire);
    expect(first.success).toBe(true);
    expect(await clientOf('shop-a').settle(...wire)).toEqual(first);
    expect(await clientOf('shop-b').settle(...wire)).toMatchObject({
      success: false,
      errorReason: 'duplicate_settlement',
      transaction: first.transaction,
    });
    expect(await earned()).toBe(before + AMOUNT);
  });

  it('settles once what two callers and many repetitions ask for at the same time', async () => {
    const wire = await newPayment();
    const before = await earned();
    const asked = [...Array(5).fill('shop-a'), ...Array(5).fill('shop-b')] as (keyof typeof KEYS)[];
    const answers = await Promise.all(asked.map(caller => clientOf(caller).settle(...wire)));
    expect(new Set(asked.filter((_, index) => answers[index]?.success)).size).toBe(1);
    const [signature, ...signatures] = new Set(
      answers.flatMap(({ success, transaction }) => (success ? [transaction] : [])),
    );
    expect([signature, signatures]).toEqual([expect.any(String), []]);
    for (const { success, errorReason, transaction } of answers) {
      if (success) continue;
      expect(['duplicate_settlement', 'settlement_pending']).toContain(errorReason);
      expect(errorReason === 'duplicate_settlement' ? [signature] : [signature, '']).toContain(transaction);
    }
    expect(await earned()).toBe(before + AMOUNT);
  });

  it('calls an outcome that it cannot determine pending, with the signature, and tells it later', async () => {
    const wire = await newPayment();
    blind = true;
    const unknown = await clientOf('shop-a').settle(...wire);
    const toOther = await clientOf('shop-b').settle(...wire);
    blind = false;
    expect(unknown).toMatchObject({ success: false, errorReason: 'settlement_pending' });
    expect(unknown.transaction).toMatch(/^[1-9A-HJ-NP-Za-km-z]{86,88}$/);
    expect(toOther).toEqual(unknown);
    const settled = await clientOf('shop-a').settle(...wire);
    expect(settled).toMatchObject({ success: true, transaction: unknown.transaction });
    const duplicate = { errorReason: 'duplicate_settlement', transaction: settled.transaction };
    expect(await clientOf('shop-b').settle(...wire)).toMatchObject(duplicate);
  });

  it('finishes one that was never sent by the reconciler', async () => {
    const wire = await newPayment();
    const before = await earned();
    deaf = true;
    const open = await clientOf('shop-a').settle(...wire);
    deaf = false;
    expect(open).toMatchObject({ success: false, errorReason: 'settlement_pending' });
    const report = await gateway.services.reconcile({ dryRun: true });
    expect(report.pending).toMatchObject([{ caller: 'shop-a', network: SOLANA_MAINNET }]);
    expect((await gateway.services.reconcile()).pending).toEqual([]);
    expect(await earned()).toBe(before + AMOUNT);
    expect((await clientOf('shop-a').settle(...wire)).success).toBe(true);
  });

  it('names the transaction of a top-up, and does not settle payments to its own receiver', async () => {
    const wallet = await newWallet();
    const asked = await solanaOffer(gateway, 5_000_000n);
    const topup = await signSolanaPayment(gateway.chain, wallet, asked);
    expect(await clientOf('shop-a').settle(topup, asked)).toMatchObject({
      success: false,
      errorReason: 'invalid_payment_requirements',
    });
    const header = Buffer.from(JSON.stringify(topup)).toString('base64');
    blind = true;
    const inFlight = await presentPayment(gateway, header);
    const pending = await clientOf('shop-a').settle(topup, asked);
    blind = false;
    expect(inFlight.statusCode).toBe(504);
    expect(pending).toMatchObject({ success: false, errorReason: 'settlement_pending' });
    expect(pending.transaction).toMatch(/^[1-9A-HJ-NP-Za-km-z]{86,88}$/);
    await gateway.services.reconcile();
    expect((await presentPayment(gateway, header)).statusCode).toBe(200);
    const repeated = await clientOf('shop-a').settle(topup, asked);
    expect(repeated).toMatchObject({ success: false, errorReason: 'duplicate_settlement' });
    expect(repeated.transaction).toBe(pending.transaction);
  });
});

describe('a payment that is not what the seller asks for', () => {
  const refusals: [string, () => Promise<Wire>, string][] = [
    [
      'more compute units than are paid for',
      () => customPayment(([, ...rest]) => [computeLimit(200_001), ...rest]),
      'invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction_too_high',
    ],
    [
      'a higher priority fee than is paid',
      () => customPayment(([limit, , ...rest]) => [limit as Instruction, computePrice(100_001n), ...rest]),
      'invalid_exact_svm_payload_transaction_instructions_compute_price_instruction_too_high',
    ],
    [
      'another memo than the requirements demand',
      () => customPayment(list => [...list.slice(0, 3), memo('something else')]),
      'invalid_exact_svm_payload_memo_mismatch',
    ],
    [
      'a wallet without the money',
      async () => newPayment(await fundedSolanaWallet(gateway.chain, 1n)),
      'invalid_exact_svm_transaction_simulation_failed',
    ],
  ];

  it.each(refusals)('is refused before anything is stored: %s', async (_, make, reason) => {
    const wire = await make();
    expect(await clientOf('shop-a').verify(...wire)).toMatchObject({ isValid: false, invalidReason: reason });
    expect(await clientOf('shop-a').settle(...wire)).toMatchObject({
      success: false,
      errorReason: reason,
      transaction: '',
    });
  });

  it.each([
    ['another amount', { amount: '2000000' }, 'invalid_payload'],
    ['another receiver', { payTo: newSvmKey().address }, 'invalid_exact_svm_payload_recipient_mismatch'],
    ['another token', { asset: newSvmKey().address }, 'invalid_payment_requirements'],
    ['an EVM receiver', { payTo: `0x${'2'.repeat(40)}` }, 'invalid_payload'],
  ])('is refused: %s', async (_, changed, reason) => {
    const [paymentPayload, asked] = await newPayment();
    const paymentRequirements = { ...asked, ...changed };
    for (const method of ['verify', 'settle']) {
      const answer = await gateway.app.inject({
        method: 'POST',
        url: `/facilitator/${method}`,
        headers: { authorization: `Bearer ${KEYS['shop-a']}` },
        payload: {
          x402Version: 2,
          paymentPayload: { ...paymentPayload, accepted: paymentRequirements },
          paymentRequirements,
        },
      });
      expect(answer.statusCode).toBe(400);
      expect(answer.json().invalidReason ?? answer.json().errorReason).toBe(reason);
    }
  });

  it('is refused when the seller has no account for the token', async () => {
    const poor = newSvmKey().address;
    const asked = requirements({ payTo: poor, asset: SOLANA_USDC });
    const wire = [await signSolanaPayment(gateway.chain, await newWallet(), asked), asked] as const;
    expect(await clientOf('shop-a').settle(...wire)).toMatchObject({
      success: false,
      errorReason: 'invalid_exact_svm_transaction_simulation_failed',
    });
  });
});
