import type { PaymentPayload } from '@x402/core/types';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import type { LocalSolana } from '../../src/local/solana-chain.ts';
import type { Seams } from '../../src/services/seams.ts';
import { startFacilitator, type TestFacilitator } from '../support/facilitator.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { waitUntilKnown } from '../support/settle-up.ts';
import {
  approveDelegate,
  fundedSolanaWallet,
  SOLANA_MAINNET,
  signSolanaPayment,
  solanaRequirements,
  solanaUsdcBalance,
  startTestSolana,
} from '../support/solana.ts';
import {
  ownPaymentHeader,
  presentPayment,
  solanaCreditOf,
  solanaSettings,
} from '../support/solana-gateway.ts';
import { newSvmKey } from '../support/svm-key.ts';
import { newSigner, tokenAccountOf } from '../support/svm-transaction.ts';

const FUNDS = 100_000_000n;
const AMOUNT = 10_000_000n;
const CREDITED = { posted: '10000000000', transfers: 1 };
/** A blockhash is forgotten after 150. */
const PAST_BLOCKHASH_SLOTS = 200;

const seams: Seams = { settleWaitMs: 1_500, settleTimeoutMs: 1_500, reconcileEveryMs: 100 };

let chain: LocalSolana;
let facilitator: TestFacilitator;
let payTo: string;
/** The gateways' own fee payer, and whoever else has its key. */
let feePayer: string;
/** Has no other facilitator than the remote one. */
let remote: TestGateway;
let embedded: TestGateway;
/** Another gateway with the same keys and receiver that knows nothing of the others. */
let stranger: TestGateway;

beforeAll(async () => {
  chain = await startTestSolana({ slotMs: 1_000, confirmedAfterSlots: 0 });
  facilitator = await startFacilitator({ solana: chain });
  const { settings: shared, ...accounts } = await solanaSettings(chain);
  ({ svmPayTo: payTo, feePayer } = accounts);
  const settings = { ...shared, NETWORKS: SOLANA_MAINNET };
  const remoteSettings = { ...settings, FACILITATORS: facilitator.url, SVM_PRIVATE_KEY: '' };
  [remote, embedded, stranger] = await Promise.all([
    startGateway({ seams, settings: remoteSettings }),
    startGateway({ seams, settings }),
    startGateway({ seams, settings }),
  ]);
  await waitUntilKnown(remote.sql, 1);
});

afterAll(async () => {
  await Promise.all([remote, embedded, stranger].map(gateway => gateway.stop()));
  await facilitator.stop();
  await chain.stop();
});

async function sign(
  payer: string,
  receiver = payTo,
): Promise<{ wallet: string; payment: PaymentPayload; header: string }> {
  const wallet = await fundedSolanaWallet(chain, FUNDS);
  const memo = wallet.address.slice(0, 32);
  const order = { payTo: receiver, feePayer: payer, amountBaseUnits: AMOUNT, memo };
  const payment = await signSolanaPayment(chain, wallet, solanaRequirements(order));
  return { wallet: wallet.address, payment, header: encodeBase64Json(payment) };
}

type Signed = Awaited<ReturnType<typeof sign>>;

/** As everybody can who has seen it: the facilitator settles for whoever asks. */
async function settleElsewhere({ payment }: Signed): Promise<void> {
  const response = await fetch(`${facilitator.url}/settle`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ x402Version: 2, paymentPayload: payment, paymentRequirements: payment.accepted }),
  });
  expect(await response.json()).toMatchObject({ success: true });
}

const cases: [string, () => TestGateway, () => string, (signed: Signed) => Promise<unknown>][] = [
  ['a remote facilitator alone', () => remote, () => facilitator.feePayer, settleElsewhere],
  [
    'the embedded one',
    () => embedded,
    () => feePayer,
    async ({ header }) => expect((await presentPayment(stranger, header)).statusCode).toBe(200),
  ],
  // Nobody here could have signed for its fee payer.
  ['none that can sign for it', () => embedded, () => facilitator.feePayer, settleElsewhere],
];

describe.each(cases)(
  'a payment that somebody else has sent already, with %s',
  (_, gatewayOf, payerOf, send) => {
    it.each([
      ['a moment ago', 0],
      ['so long ago that its blockhash is forgotten', PAST_BLOCKHASH_SLOTS],
    ])('%s, is credited once', async (__, slots) => {
      const gateway = gatewayOf();
      const signed = await sign(payerOf());
      await send(signed);
      if (slots > 0) await chain.advanceSlots(slots);
      const answers = await Promise.all([1, 2, 3].map(() => presentPayment(gateway, signed.header)));
      expect(answers.map(({ statusCode }) => statusCode)).toContain(200);
      for (const { statusCode, body } of answers) expect([200, 409], body).toContain(statusCode);
      expect((await presentPayment(gateway, signed.header)).statusCode).toBe(200);
      expect(await solanaCreditOf(gateway, signed.wallet)).toEqual(CREDITED);
      expect(await solanaUsdcBalance(chain, signed.wallet)).toBe(FUNDS - AMOUNT);
    });

    it('is refused without a trace when nobody has, and its blockhash is forgotten', async () => {
      const gateway = gatewayOf();
      const signed = await sign(payerOf());
      await chain.advanceSlots(PAST_BLOCKHASH_SLOTS);
      const answer = await presentPayment(gateway, signed.header);
      expect(answer.statusCode, answer.body).toBe(400);
      expect(await solanaCreditOf(gateway, signed.wallet)).toBeUndefined();
      expect(await solanaUsdcBalance(chain, signed.wallet)).toBe(FUNDS);
    });
  },
);

describe('a payment to another seller that somebody else has sent already', () => {
  const KEY = 'key-of-shop-a'.repeat(4);
  const seller = newSvmKey().address;

  function settle(on: TestGateway, { payment }: Signed) {
    return on.app.inject({
      method: 'POST',
      url: '/facilitator/settle',
      headers: { authorization: `Bearer ${KEY}` },
      payload: { x402Version: 2, paymentPayload: payment, paymentRequirements: payment.accepted },
    });
  }

  it('is named as a duplicate, also when its blockhash is forgotten, and refused when nobody has', async () => {
    await chain.mint(seller, 0n);
    const settings = { FACILITATOR_API_KEYS: JSON.stringify({ 'shop-a': KEY }) };
    /** While true, the node has seen transactions in a block that nobody has voted for yet. */
    let isYoung = true;
    const svmClient: Seams['svmClient'] = client => ({
      ...client,
      async signatureStatuses(...question) {
        const { slot, statuses } = await client.signatureStatuses(...question);
        if (!isYoung) return { slot, statuses };
        return { slot, statuses: statuses.map(status => status && { ...status, commitment: 'processed' }) };
      },
    });
    const [shop, other] = await Promise.all([
      startGateway({ seams: { ...seams, svmClient }, settings, replicaOf: embedded }),
      startGateway({ seams, settings, replicaOf: stranger }),
    ]);
    const [sent, unsent] = await Promise.all([sign(feePayer, seller), sign(feePayer, seller)]);
    const settled = (await settle(other, sent)).json();
    expect(settled).toMatchObject({ success: true });
    const duplicate = { errorReason: 'duplicate_settlement', transaction: settled.transaction };
    const pending = { errorReason: 'settlement_pending', transaction: settled.transaction };
    expect((await settle(shop, sent)).json()).toMatchObject(pending);
    isYoung = false;
    expect((await settle(shop, sent)).json()).toMatchObject(duplicate);
    await chain.advanceSlots(PAST_BLOCKHASH_SLOTS);
    expect((await settle(shop, sent)).json()).toMatchObject(duplicate);
    expect((await settle(shop, unsent)).json()).toMatchObject({ success: false, transaction: '' });
    expect(await solanaUsdcBalance(chain, seller)).toBe(AMOUNT);
    await shop.stop();
    await other.stop();
  });
});

it('a payment out of another’s token account, sent and its blockhash forgotten, is credited to the delegate', async () => {
  const [owner, delegate] = await Promise.all([fundedSolanaWallet(chain, FUNDS), newSigner()]);
  await approveDelegate(chain, owner, delegate, AMOUNT);
  const source = tokenAccountOf(owner.address);
  const fields = { app: embedded.app, chain, feePayer, svmPayTo: payTo };
  const header = await ownPaymentHeader(fields, delegate, AMOUNT, { source });
  expect((await presentPayment(stranger, header)).statusCode).toBe(200);
  await chain.advanceSlots(PAST_BLOCKHASH_SLOTS);
  expect((await presentPayment(embedded, header)).statusCode).toBe(200);
  expect(await solanaCreditOf(embedded, delegate.address)).toEqual(CREDITED);
  expect(await solanaCreditOf(embedded, owner.address)).toBeUndefined();
});
