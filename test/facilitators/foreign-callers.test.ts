import { randomUUID } from 'node:crypto';
import { encodeFunctionData, erc20Abi } from 'viem';
import type { PrivateKeyAccount } from 'viem/accounts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { transferCallData } from '../../src/lib/eip3009.ts';
import { unavailable } from '../../src/lib/errors.ts';
import { mintUsdc, sendAsPayer, usdcTransfersTo } from '../support/chain.ts';
import {
  FACILITATOR_SETTINGS,
  FOREIGN_AMOUNT,
  SELLER,
  settleForSeller,
} from '../support/foreign-settlement.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import {
  BASE_USDC,
  createPayer,
  paymentHeader,
  type SignedPayment,
  signPayment,
} from '../support/payment.ts';

const NEVER_MS = 3_600_000;
const FUNDS = 100n;
const TOPUP = 5_000_000n;
const HASH = expect.stringMatching(/^0x[0-9a-f]{64}$/);

/** While true, the node does not tell about transactions. */
let blind = false;
/** What happens before the facilitator is asked to settle, and before its transaction leaves. */
let beforeSettle: (() => Promise<unknown>) | undefined;
let beforeSend: (() => Promise<unknown>) | undefined;
/** How many transactions were given to the node. */
let sent = 0;
let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startGateway({
    settings: FACILITATOR_SETTINGS,
    seams: {
      settleWaitMs: 500,
      reconcileEveryMs: NEVER_MS,
      maintainSenderEveryMs: NEVER_MS,
      facilitator: facilitator => ({
        ...facilitator,
        async settle(...order) {
          await beforeSettle?.();
          return facilitator.settle(...order);
        },
      }),
      evmClient: client => ({
        ...client,
        async sendRawTransaction(raw) {
          await beforeSend?.();
          sent += 1;
          await client.sendRawTransaction(raw);
        },
        receipt: hash => (blind ? Promise.reject(unavailable('the Base node')) : client.receipt(hash)),
      }),
    },
  });
});

beforeEach(() => {
  blind = false;
  beforeSettle = undefined;
  beforeSend = undefined;
  sent = 0;
});

afterAll(async () => {
  await gateway.stop();
});

async function settle(caller: 'shop-a' | 'shop-b', payment: SignedPayment) {
  const answer = await settleForSeller(gateway, payment, caller);
  expect(answer.statusCode).toBe(200);
  return answer.json();
}

const topUp = (payment: SignedPayment) =>
  gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });

const pending = (transaction: unknown) => ({
  success: false,
  errorReason: 'settlement_pending',
  transaction,
});
const duplicate = (transaction: unknown) => ({
  success: false,
  errorReason: 'duplicate_settlement',
  transaction,
});
const failed = (transaction: unknown) => ({
  success: false,
  errorReason: 'invalid_transaction_state',
  transaction,
});

async function arrivals({ authorization }: SignedPayment): Promise<number> {
  const transfers = await usdcTransfersTo(authorization.to);
  return transfers.filter(({ from }) => from === authorization.from.toLowerCase()).length;
}

/** Holds whoever comes by until it is opened. */
function gate() {
  let reach = (): void => undefined;
  let open = (): void => undefined;
  const reached = new Promise<void>(resolve => (reach = resolve));
  const opened = new Promise<void>(resolve => (open = resolve));
  const pass = () => {
    reach();
    return opened;
  };
  return { pass, reached, open: () => open() };
}

/** Takes all of the payer's money away. */
async function drain(payer: PrivateKeyAccount): Promise<void> {
  const stranger = await createPayer(0n);
  const args = [stranger.address, FUNDS * 1_000_000n] as const;
  const away = encodeFunctionData({ abi: erc20Abi, functionName: 'transfer', args });
  await sendAsPayer(payer, BASE_USDC, away);
}

/** The payer's money leaves just before our transaction does, which is reverted then. */
function drainBeforeSend(payer: PrivateKeyAccount): void {
  beforeSend = () => {
    beforeSend = undefined;
    return drain(payer);
  };
}

/** Anybody can, who has seen the permission. */
async function sendElsewhere({ authorization, signature }: SignedPayment): Promise<string> {
  return sendAsPayer(await createPayer(0n), BASE_USDC, transferCallData(authorization, signature));
}

describe('a payment that is settled for one caller, shown by another', () => {
  const newPayment = async () => signPayment(await createPayer(FUNDS), SELLER, FOREIGN_AMOUNT);

  it('is pending while it is on its way, with the hash as soon as there is one', async () => {
    const payment = await newPayment();
    const [unsent, unheard] = [gate(), gate()];
    beforeSettle = unsent.pass;
    beforeSend = unheard.pass;
    const first = settle('shop-a', payment);
    await unsent.reached;
    expect(await settle('shop-b', payment)).toMatchObject(pending(''));
    unsent.open();
    await unheard.reached;
    const signed = await settle('shop-b', payment);
    expect(signed).toMatchObject(pending(HASH));
    unheard.open();
    expect(await first).toMatchObject({ success: true, transaction: signed.transaction });
    expect(await settle('shop-b', payment)).toMatchObject(duplicate(signed.transaction));
    expect([sent, await arrivals(payment)]).toEqual([1, 1]);
  });

  it('is pending with the hash while its outcome is not known, and a duplicate with it afterwards', async () => {
    const payment = await newPayment();
    blind = true;
    const unknown = await settle('shop-a', payment);
    expect(unknown).toMatchObject(pending(HASH));
    const already = sent;
    expect(await settle('shop-b', payment)).toEqual(unknown);
    expect(sent).toBe(already);
    blind = false;
    expect(await settle('shop-b', payment)).toEqual(unknown);
    const { transaction } = unknown;
    expect(await settle('shop-a', payment)).toMatchObject({ success: true, transaction });
    expect(await settle('shop-b', payment)).toMatchObject(duplicate(transaction));
    expect(await arrivals(payment)).toBe(1);
  });

  it('has failed for everybody when that is proven, until somebody sends it after all', async () => {
    const payer = await createPayer(FUNDS);
    const payment = await signPayment(payer, SELLER, FOREIGN_AMOUNT);
    drainBeforeSend(payer);
    const first = await settle('shop-a', payment);
    expect(first).toMatchObject(failed(HASH));
    await mintUsdc(payer.address, FOREIGN_AMOUNT);
    expect(await settle('shop-b', payment)).toEqual(first);
    expect([sent, await arrivals(payment)]).toEqual([1, 0]);

    const transaction = await sendElsewhere(payment);
    expect(await settle('shop-b', payment)).toMatchObject(duplicate(transaction));
    expect(await settle('shop-a', payment)).toMatchObject({ success: true, transaction });
    expect([sent, await arrivals(payment)]).toEqual([1, 1]);
  });

  it('is not named when another permission of the same nonce is shown', async () => {
    const payer = await createPayer(FUNDS);
    const payment = await signPayment(payer, SELLER, FOREIGN_AMOUNT);
    const { nonce } = payment.authorization;
    const other = await signPayment(payer, SELLER, FOREIGN_AMOUNT + 1n, { nonce });
    const refusal = {
      success: false,
      errorReason: 'invalid_exact_evm_nonce_already_used',
      transaction: '',
    };
    const held = gate();
    beforeSend = held.pass;
    const first = settle('shop-a', payment);
    await held.reached;
    for (const caller of ['shop-a', 'shop-b'] as const)
      expect(await settle(caller, other)).toMatchObject(pending(''));
    await drain(payer);
    held.open();
    expect(await first).toMatchObject(failed(HASH));
    expect(await settle('shop-b', other)).toMatchObject(refusal);

    await mintUsdc(payer.address, FOREIGN_AMOUNT + 1n);
    const transaction = await sendElsewhere(other);
    expect(await settle('shop-b', other)).toMatchObject(duplicate(transaction));
    expect(await settle('shop-b', payment)).toMatchObject(failed(HASH));
    expect([sent, await arrivals(payment)]).toEqual([1, 1]);
  });
});

describe('a top-up of this gateway, shown to be settled for another seller', () => {
  const newTopup = async () => signPayment(await createPayer(FUNDS), gateway.payTo, TOPUP);

  it('is pending with the hash while it is in flight, and a duplicate with it once it is credited', async () => {
    const payment = await newTopup();
    const held = gate();
    beforeSend = held.pass;
    const answer = topUp(payment);
    await held.reached;
    const inFlight = await settle('shop-a', payment);
    expect(inFlight).toMatchObject(pending(HASH));
    blind = true;
    held.open();
    expect((await answer).statusCode).toBe(504);
    expect(await settle('shop-a', payment)).toEqual(inFlight);
    blind = false;
    await gateway.services.reconcile();
    expect((await topUp(payment)).statusCode).toBe(200);
    expect(await settle('shop-a', payment)).toMatchObject(duplicate(inFlight.transaction));
    expect(await arrivals(payment)).toBe(1);
  });

  it('has failed when that is proven, until somebody sends it, and is credited all the same', async () => {
    const payer = await createPayer(FUNDS);
    const payment = await signPayment(payer, gateway.payTo, TOPUP);
    drainBeforeSend(payer);
    expect((await topUp(payment)).statusCode).toBe(402);
    expect(await settle('shop-a', payment)).toMatchObject(failed(HASH));
    await mintUsdc(payer.address, TOPUP);
    const transaction = await sendElsewhere(payment);
    expect(await settle('shop-a', payment)).toMatchObject(duplicate(transaction));
    expect((await topUp(payment)).statusCode).toBe(200);
    expect([sent, await arrivals(payment)]).toEqual([1, 1]);
  });

  it('is pending while it is claimed and nothing else is known of it', async () => {
    const payer = await createPayer(FUNDS);
    expect((await topUp(await signPayment(payer, gateway.payTo, TOPUP))).statusCode).toBe(200);
    const claimed = await signPayment(payer, gateway.payTo, TOPUP);
    const { from, nonce } = claimed.authorization;
    const identity = `eip3009:8453:${BASE_USDC}:${from}:${nonce}`.toLowerCase();
    // What is left when the process dies between the two steps.
    await gateway.sql.query(
      `SELECT directory.claim_payment($1, $2, account_id, environment, 'cell_0')
       FROM cell_0.payment WHERE signed->>'payer' = $3`,
      [identity, randomUUID(), from.toLowerCase()],
    );
    expect(await settle('shop-a', claimed)).toMatchObject(pending(''));
    const transaction = await sendElsewhere(claimed);
    expect(await settle('shop-a', claimed)).toMatchObject(duplicate(transaction));
  });
});

describe('a payment that somebody else has sent before it was shown', () => {
  it('is pending with the hash until it is as deep as its amount demands, and then a duplicate', async () => {
    const strict = await startGateway({
      replicaOf: gateway,
      settings: { CONFIRMATIONS: '{"eip155:8453":{"0":100}}' },
    });
    const payment = await signPayment(await createPayer(FUNDS), SELLER, FOREIGN_AMOUNT);
    const transaction = await sendElsewhere(payment);
    expect((await settleForSeller(strict, payment)).json()).toMatchObject(pending(transaction));
    expect(await settle('shop-a', payment)).toMatchObject(duplicate(transaction));
    await strict.stop();
  });
});
