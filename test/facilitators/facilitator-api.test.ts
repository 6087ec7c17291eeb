import type { AddressInfo } from 'node:net';
import { HTTPFacilitatorClient } from '@x402/core/server';
import type { PaymentPayload, PaymentRequirements } from '@x402/core/types';
import { encodeFunctionData, erc20Abi } from 'viem';
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAddress } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transferCallData } from '../../src/lib/eip3009.ts';
import { unavailable } from '../../src/lib/errors.ts';
import { mintUsdc, sendAsPayer, usdcTransfersTo } from '../support/chain.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import {
  BASE_USDC,
  createPayer,
  paymentHeader,
  paymentJson,
  type SignedPayment,
  signPayment,
} from '../support/payment.ts';

const KEYS = { 'shop-a': 'key-of-shop-a'.repeat(4), 'shop-b': 'key-of-shop-b'.repeat(4) };

/** Another seller: nobody here has its key. */
const SELLER = privateKeyToAddress(generatePrivateKey());

/** While true, the node does not tell about transactions. */
let blind = false;
/** What happens between the rehearsal and the transaction. */
let beforeSend: (() => Promise<unknown>) | undefined;
let gateway: TestGateway;
let origin: string;

beforeAll(async () => {
  gateway = await startGateway({
    settings: { FACILITATOR_API_KEYS: JSON.stringify(KEYS) },
    seams: {
      settleWaitMs: 1_000,
      evmClient: client => ({
        ...client,
        async sendRawTransaction(raw) {
          await beforeSend?.();
          await client.sendRawTransaction(raw);
        },
        receipt: hash => (blind ? Promise.reject(unavailable('the Base node')) : client.receipt(hash)),
      }),
    },
  });
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

function version2(payment: SignedPayment, changed: Partial<PaymentRequirements> = {}) {
  const requirements: PaymentRequirements = {
    scheme: 'exact',
    network: 'eip155:8453',
    amount: payment.authorization.value.toString(),
    asset: BASE_USDC,
    payTo: payment.authorization.to,
    maxTimeoutSeconds: 300,
    extra: { name: 'USD Coin', version: '2' },
    ...changed,
  };
  const payload: PaymentPayload = { x402Version: 2, accepted: requirements, payload: paymentJson(payment) };
  return [payload, requirements] as const;
}

function version1(payment: SignedPayment) {
  const requirements = {
    scheme: 'exact',
    network: 'base',
    maxAmountRequired: payment.authorization.value.toString(),
    asset: BASE_USDC,
    payTo: payment.authorization.to,
    resource: 'https://shop.example.com/thing',
    description: 'a thing',
    mimeType: 'application/json',
    maxTimeoutSeconds: 300,
    extra: { name: 'USD Coin', version: '2' },
  };
  const payload = { x402Version: 1, scheme: 'exact', network: 'base', payload: paymentJson(payment) };
  return [payload as unknown as PaymentPayload, requirements as unknown as PaymentRequirements] as const;
}

async function paidTo(seller: `0x${string}`, payment: SignedPayment): Promise<number> {
  const transfers = await usdcTransfersTo(seller);
  return transfers.filter(t => t.from === payment.authorization.from.toLowerCase()).length;
}

const payers = new Map<string, PrivateKeyAccount>();

async function newPayment(to: `0x${string}` = SELLER): Promise<SignedPayment> {
  const payer = await createPayer(100n);
  payers.set(payer.address, payer);
  return signPayment(payer, to, 3_000_000n);
}

async function ledgerRows(): Promise<number> {
  const { rows } = await gateway.sql.query(
    'SELECT (SELECT count(*) FROM cell_0.transfer)::int + (SELECT count(*) FROM cell_0.payment)::int AS n',
  );
  return rows[0].n;
}

describe('the gateway as a facilitator', () => {
  it('says what it settles, in both versions, and with which key', async () => {
    const supported = await clientOf('shop-a').getSupported();
    expect(supported.kinds).toEqual([
      { x402Version: 2, scheme: 'exact', network: 'eip155:8453' },
      { x402Version: 1, scheme: 'exact', network: 'base' },
    ]);
    expect(supported.signers['eip155:*']).toHaveLength(1);
  });

  it.each([
    ['version 2', version2, 'eip155:8453'],
    ['version 1', version1, 'base'],
  ])(
    'verifies and settles a payment to another seller in %s, and credits nobody',
    async (_, wire, network) => {
      const client = clientOf('shop-a');
      const payment = await newPayment();
      const payer = payment.authorization.from.toLowerCase();
      const before = await ledgerRows();
      expect(await client.verify(...wire(payment))).toMatchObject({ isValid: true, payer });
      expect(await paidTo(SELLER, payment)).toBe(0);
      const settled = await client.settle(...wire(payment));
      expect(settled).toMatchObject({ success: true, network, payer });
      expect(settled.transaction).toMatch(/^0x[0-9a-f]{64}$/);
      expect(await paidTo(SELLER, payment)).toBe(1);
      expect(await ledgerRows()).toBe(before);
    },
  );

  it('takes the version from the payload when the envelope lacks it', async () => {
    const [paymentPayload, paymentRequirements] = version1(await newPayment());
    const answer = await gateway.app.inject({
      method: 'POST',
      url: '/facilitator/settle',
      headers: { authorization: `Bearer ${KEYS['shop-a']}` },
      payload: { paymentPayload, paymentRequirements },
    });
    expect([answer.statusCode, answer.json().success]).toEqual([200, true]);
  });

  it('answers the same call by the same caller with the stored success, and no other caller', async () => {
    const payment = await newPayment();
    const first = await clientOf('shop-a').settle(...version2(payment));
    expect(await clientOf('shop-a').settle(...version2(payment))).toEqual(first);
    expect(await clientOf('shop-b').settle(...version2(payment))).toMatchObject({
      success: false,
      errorReason: 'duplicate_settlement',
      transaction: first.transaction,
    });
    expect(await paidTo(SELLER, payment)).toBe(1);
  });

  it('settles once what two callers and many repetitions ask for at the same time', async () => {
    const payment = await newPayment();
    const asked = [...Array(5).fill('shop-a'), ...Array(5).fill('shop-b')] as (keyof typeof KEYS)[];
    const answers = await Promise.all(asked.map(caller => clientOf(caller).settle(...version2(payment))));
    const [winner, ...others] = new Set(asked.filter((_, index) => answers[index]?.success));
    expect([winner, others]).toEqual([expect.any(String), []]);
    const [hash, ...hashes] = new Set(
      answers.flatMap(({ success, transaction }) => (success ? [transaction] : [])),
    );
    expect([hash, hashes]).toEqual([expect.stringMatching(/^0x[0-9a-f]{64}$/), []]);
    expect(answers.filter(({ success }) => success)).toHaveLength(5);
    for (const { success, errorReason, transaction } of answers) {
      if (success) continue;
      expect(['duplicate_settlement', 'settlement_pending']).toContain(errorReason);
      expect(errorReason === 'duplicate_settlement' ? [hash] : [hash, '']).toContain(transaction);
    }
    const late = await clientOf(winner === 'shop-a' ? 'shop-b' : 'shop-a').settle(...version2(payment));
    expect(late).toMatchObject({ errorReason: 'duplicate_settlement', transaction: hash });
    expect(await paidTo(SELLER, payment)).toBe(1);
  });

  it('calls an outcome that it cannot determine pending, with the hash, and tells it later', async () => {
    const payment = await newPayment();
    blind = true;
    const unknown = await clientOf('shop-a').settle(...version2(payment));
    blind = false;
    expect(unknown).toMatchObject({ success: false, errorReason: 'settlement_pending' });
    const settled = await clientOf('shop-a').settle(...version2(payment));
    expect(settled).toMatchObject({ success: true, transaction: unknown.transaction });
    expect(await paidTo(SELLER, payment)).toBe(1);
  });

  it('that was reverted is settled after all when somebody else sends it while it is good', async () => {
    const payment = await newPayment();
    const payer = payers.get(payment.authorization.from) as PrivateKeyAccount;
    const stranger = await createPayer(0n);
    const away = encodeFunctionData({
      abi: erc20Abi,
      functionName: 'transfer',
      args: [stranger.address, 100_000_000n],
    });
    beforeSend = async () => {
      beforeSend = undefined;
      await sendAsPayer(payer, BASE_USDC, away);
    };
    const failed = await clientOf('shop-a').settle(...version2(payment));
    expect(failed).toMatchObject({ success: false, errorReason: 'invalid_transaction_state' });
    expect(await clientOf('shop-a').settle(...version2(payment))).toEqual(failed);

    await mintUsdc(payer.address, 3_000_000n);
    const { authorization, signature } = payment;
    const transaction = await sendAsPayer(stranger, BASE_USDC, transferCallData(authorization, signature));
    const settled = await clientOf('shop-a').settle(...version2(payment));
    expect(settled).toMatchObject({ success: true, transaction });
    expect(await paidTo(SELLER, payment)).toBe(1);
  });

  it('is no success when the payer spends its nonce on a smaller payment to the same seller', async () => {
    const payment = await newPayment();
    const payer = payers.get(payment.authorization.from) as PrivateKeyAccount;
    const { nonce } = payment.authorization;
    const crumb = await signPayment(payer, SELLER, 1n, { nonce });
    const sendCrumb = async () =>
      sendAsPayer(await createPayer(0n), BASE_USDC, transferCallData(crumb.authorization, crumb.signature));
    let spentBy = '';
    beforeSend = async () => {
      beforeSend = undefined;
      spentBy = await sendCrumb();
    };
    const failed = await clientOf('shop-a').settle(...version2(payment));
    expect(failed).toMatchObject({
      success: false,
      errorReason: 'invalid_transaction_state',
      errorMessage: 'proven on chain: used_elsewhere',
      transaction: spentBy,
    });
    expect(await clientOf('shop-a').settle(...version2(payment))).toEqual(failed);

    // The same, but spent before it was shown here.
    const second = await newPayment();
    const owner = payers.get(second.authorization.from) as PrivateKeyAccount;
    const small = await signPayment(owner, SELLER, 1n, { nonce: second.authorization.nonce });
    const data = transferCallData(small.authorization, small.signature);
    await sendAsPayer(await createPayer(0n), BASE_USDC, data);
    expect(await clientOf('shop-a').settle(...version2(second))).toMatchObject({
      success: false,
      errorReason: 'invalid_exact_evm_nonce_already_used',
      transaction: '',
    });
  });

  it('names the transaction of a payment that somebody else has sent', async () => {
    const payment = await newPayment();
    const { authorization, signature } = payment;
    const sent = await sendAsPayer(
      await createPayer(0n),
      BASE_USDC,
      transferCallData(authorization, signature),
    );
    expect(await clientOf('shop-a').settle(...version2(payment))).toMatchObject({
      success: false,
      errorReason: 'duplicate_settlement',
      transaction: sent,
    });
  });

  it('names the transaction of a top-up, and does not settle payments to its own receiver', async () => {
    const payment = await newPayment(gateway.payTo);
    const refused = await clientOf('shop-a').settle(...version2(payment));
    expect(refused).toMatchObject({
      success: false,
      errorReason: 'invalid_payment_requirements',
      transaction: '',
    });
    const topup = await signPayment(await createPayer(100n), gateway.payTo, 5_000_000n);
    const answer = await gateway.app.inject({
      method: 'POST',
      url: '/api/v1/x402/top-up',
      headers: { 'payment-signature': paymentHeader(topup) },
    });
    expect(answer.statusCode).toBe(200);
    const repeated = await clientOf('shop-a').settle(...version2(topup));
    expect(repeated).toMatchObject({ success: false, errorReason: 'duplicate_settlement' });
    expect(repeated.transaction).toMatch(/^0x[0-9a-f]{64}$/);
  });

  it('does not credit a nonce that was settled for another seller', async () => {
    const payer = await createPayer(100n);
    const foreign = await signPayment(payer, SELLER, 5_000_000n);
    expect((await clientOf('shop-a').settle(...version2(foreign))).success).toBe(true);
    const { nonce } = foreign.authorization;
    const own = await signPayment(payer, gateway.payTo, 5_000_000n, { nonce });
    const before = await ledgerRows();
    const answer = await gateway.app.inject({
      method: 'POST',
      url: '/api/v1/x402/top-up',
      headers: { 'payment-signature': paymentHeader(own) },
    });
    expect(answer.statusCode).toBeGreaterThanOrEqual(400);
    expect(await ledgerRows()).toBe(before);
  });

  it.each([
    ['another amount', { amount: '2000000' }, 'invalid_payload'],
    ['another receiver', { payTo: `0x${'2'.repeat(40)}` }, 'invalid_exact_evm_payload_recipient_mismatch'],
    ['another token', { asset: `0x${'3'.repeat(40)}` }, 'invalid_payment_requirements'],
    ['another network', { network: 'eip155:1' as const }, 'invalid_network'],
    ['another scheme', { scheme: 'upto' }, 'unsupported_scheme'],
  ])('refuses %s than what is signed', async (_, changed, reason) => {
    const [paymentPayload, paymentRequirements] = version2(await newPayment(), changed);
    for (const method of ['verify', 'settle']) {
      const answer = await gateway.app.inject({
        method: 'POST',
        url: `/facilitator/${method}`,
        headers: { authorization: `Bearer ${KEYS['shop-a']}` },
        payload: { x402Version: 2, paymentPayload, paymentRequirements },
      });
      expect(answer.statusCode).toBe(400);
      expect(answer.json().invalidReason ?? answer.json().errorReason).toBe(reason);
    }
  });

  it('refuses a forgery and a wallet without money before anything is stored', async () => {
    const poor = await signPayment(await createPayer(1n), SELLER, 3_000_000n);
    expect(await clientOf('shop-a').settle(...version2(poor))).toMatchObject({
      success: false,
      errorReason: 'invalid_exact_evm_insufficient_balance',
    });
    const other = await newPayment();
    const forged = { ...other, signature: poor.signature };
    expect(await clientOf('shop-a').settle(...version2(forged))).toMatchObject({
      success: false,
      errorReason: 'invalid_exact_evm_signature',
    });
    const { rows } = await gateway.sql.query(
      'SELECT count(*)::int AS n FROM directory.payment_claim WHERE identity LIKE ANY($1)',
      [[poor, other].map(({ authorization }) => `%${authorization.nonce.toLowerCase()}`)],
    );
    expect(rows[0].n).toBe(0);
  });

  it.each([[undefined], ['Bearer wrong'], [`Basic ${KEYS['shop-a']}`]])(
    'is closed to %s',
    async authorization => {
      const headers = authorization === undefined ? {} : { authorization };
      const answer = await gateway.app.inject({ method: 'GET', url: '/facilitator/supported', headers });
      expect(answer.statusCode).toBe(401);
    },
  );

  it('does not exist unless keys are set', async () => {
    const plain = await startGateway();
    expect((await plain.app.inject({ method: 'GET', url: '/facilitator/supported' })).statusCode).toBe(404);
    await plain.stop();
  });
});
