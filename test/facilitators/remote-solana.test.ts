import type { KeyPairSigner } from '@solana/kit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { readSvmTransaction } from '../../src/lib/svm-transaction.ts';
import type { LocalSolana } from '../../src/local/solana-chain.ts';
import type { Seams } from '../../src/services/seams.ts';
import { startFacilitator, type TestFacilitator } from '../support/facilitator.ts';
import { FACILITATOR_FAULTS, type FacilitatorFault, NEVER_SENT } from '../support/facilitator-faults.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { readPayments, reconcileProblems, waitUntilClosed, waitUntilKnown } from '../support/settle-up.ts';
import {
  fundedSolanaWallet,
  SOLANA_MAINNET,
  signSolanaPayment,
  solanaRequirements,
  solanaUsdcBalance,
  startTestSolana,
} from '../support/solana.ts';
import { presentPayment, solanaCreditOf, solanaOffer, solanaSettings } from '../support/solana-gateway.ts';

/** A slow facilitator takes 4 s. */
const seams: Seams = { settleWaitMs: 1_500, settleTimeoutMs: 1_500, reconcileEveryMs: 100 };

const FUNDS = 100_000_000n;
const AMOUNT = 10_000_000n;

let chain: LocalSolana;
let facilitator: TestFacilitator;

beforeAll(async () => {
  // A blockhash lives until it is told to end, and what was executed is confirmed at once.
  chain = await startTestSolana({ slotMs: 1_000, confirmedAfterSlots: 0 });
  facilitator = await startFacilitator({ solana: chain });
});

afterAll(async () => {
  await facilitator.stop();
  await chain.stop();
});

/** A gateway that takes payments on Solana only, with a receiver and an embedded facilitator's key of its own. */
interface Gateway extends TestGateway {
  svmPayTo: string;
  feePayer: string;
}

/** @returns once the facilitators have said what they support */
async function startWith(facilitators: readonly string[]): Promise<Gateway> {
  const { settings, svmPayTo, feePayer } = await solanaSettings(chain);
  const remote = facilitators.filter(name => name !== 'embedded');
  const gateway = await startGateway({
    seams,
    settings: {
      ...settings,
      NETWORKS: SOLANA_MAINNET,
      FACILITATORS: facilitators.join(),
      ...(remote.length === facilitators.length ? { SVM_PRIVATE_KEY: '' } : {}),
    },
  });
  await waitUntilKnown(gateway.sql, remote.length);
  return { ...gateway, svmPayTo, feePayer };
}

interface Signed {
  wallet: KeyPairSigner;
  header: string;
  /** Names the payment to the facilitator. */
  key: string;
}

async function sign({ svmPayTo: payTo }: Gateway, feePayer = facilitator.feePayer): Promise<Signed> {
  const wallet = await fundedSolanaWallet(chain, FUNDS);
  const memo = wallet.address.slice(0, 32);
  const order = { payTo, feePayer, amountBaseUnits: AMOUNT, memo };
  const payment = await signSolanaPayment(chain, wallet, solanaRequirements(order));
  const { transaction } = payment.payload as { transaction: string };
  const key = readSvmTransaction(Buffer.from(transaction, 'base64'))?.messageHash ?? '';
  return { wallet, key, header: encodeBase64Json(payment) };
}

async function storedOf(gateway: TestGateway, { key }: Signed) {
  return (await readPayments(gateway.sql)).find(({ identity }) => identity.endsWith(key));
}

/** @returns what the wallet has paid, and by how many credits it got it */
async function paidAndCredited(gateway: TestGateway, { wallet }: Signed): Promise<[bigint, number]> {
  const left = await solanaUsdcBalance(chain, wallet.address);
  return [FUNDS - left, (await solanaCreditOf(gateway, wallet.address))?.transfers ?? 0];
}

describe('a remote facilitator on Solana', () => {
  it.each(['1', '2'])(
    'of version %s offers its fee payer, settles, and the credit comes from the chain',
    async versions => {
      const own = await startFacilitator({ solana: chain, versions });
      const gateway = await startWith([own.url]);
      expect((await solanaOffer(gateway, AMOUNT)).extra['feePayer']).toBe(own.feePayer);
      const payment = await sign(gateway, own.feePayer);
      const answer = await presentPayment(gateway, payment.header);
      expect(answer.statusCode, answer.body).toBe(200);
      expect((await presentPayment(gateway, payment.header)).json()).toEqual(answer.json());
      expect(await storedOf(gateway, payment)).toMatchObject({ state: 'credited', facilitator: own.url });
      expect(await paidAndCredited(gateway, payment)).toEqual([AMOUNT, 1]);
      expect((await own.counts()).settles).toEqual({ [payment.key]: 1 });
      await gateway.stop();
      await own.stop();
    },
  );

  it('with every fault at once: each payer is credited once, or provably has not paid', async () => {
    const gateway = await startWith([facilitator.url]);
    const faults = FACILITATOR_FAULTS.filter(fault => fault !== 'down-after-verify');
    const payments = await Promise.all(faults.map(async fault => ({ fault, ...(await sign(gateway)) })));
    for (const { key, fault } of payments) await facilitator.plan(key, fault);
    const statuses = await Promise.all(
      payments.map(async ({ fault, header }) => [fault, (await presentPayment(gateway, header)).statusCode]),
    );
    // Whoever hears nothing, or nothing that the chain confirms, does not know.
    const unknown = [...NEVER_SENT, 'slow-settle'].map(fault => [fault, 504]);
    expect(statuses).toEqual(expect.arrayContaining(unknown));
    const isNeverSent = (name: string) =>
      payments.some(({ key, fault }) => name.endsWith(key) && NEVER_SENT.includes(fault));
    const late = await waitUntilClosed(gateway.sql, {
      timeoutMs: 20_000,
      mayStay: ({ identity }) => isNeverSent(identity),
    });
    expect(late).toEqual([]);
    await chain.advanceSlots(450);
    expect(await waitUntilClosed(gateway.sql, { timeoutMs: 20_000 })).toEqual([]);
    for (const payment of payments) {
      const { fault } = payment;
      const [paid, state] = NEVER_SENT.includes(fault) ? [0n, 'failed'] : [AMOUNT, 'credited'];
      expect([fault, (await storedOf(gateway, payment))?.state]).toEqual([fault, state]);
      expect([fault, ...(await paidAndCredited(gateway, payment))]).toEqual([
        fault,
        paid,
        state === 'credited' ? 1 : 0,
      ]);
    }
    expect(await reconcileProblems(gateway)).toEqual([]);
    await gateway.stop();
  });

  it('that names a transaction of somebody else is not believed: the payment’s own one is found', async () => {
    const gateway = await startWith([facilitator.url]);
    const [first, second] = await Promise.all([sign(gateway), sign(gateway)]);
    await facilitator.plan(second.key, 'names-another-transaction');
    expect((await presentPayment(gateway, first.header)).statusCode).toBe(200);
    expect((await presentPayment(gateway, second.header)).statusCode).toBe(200);
    const [named, own] = await Promise.all([storedOf(gateway, first), storedOf(gateway, second)]);
    expect(own?.transaction).toMatch(/^[1-9A-HJ-NP-Za-km-z]{86,88}$/);
    expect(own?.transaction).not.toBe(named?.transaction);
    expect(await paidAndCredited(gateway, second)).toEqual([AMOUNT, 1]);
    await gateway.stop();
  });

  it('that is down is asked again when it is back, and its fee payer is offered in the meantime', async () => {
    const gateway = await startWith([facilitator.url]);
    const payment = await sign(gateway);
    await facilitator.plan(payment.key, 'down-after-verify');
    expect((await presentPayment(gateway, payment.header)).statusCode).toBe(504);
    // One that starts now has only what the others have learned.
    const replica = await startGateway({ seams, replicaOf: gateway });
    expect((await solanaOffer(replica, AMOUNT)).extra['feePayer']).toBe(facilitator.feePayer);
    const other = await sign(gateway);
    expect((await presentPayment(replica, other.header)).statusCode).toBe(503);
    expect(await storedOf(gateway, other)).toBeUndefined();
    await facilitator.open();
    expect(await waitUntilClosed(gateway.sql, { timeoutMs: 20_000 })).toEqual([]);
    expect(await paidAndCredited(gateway, payment)).toEqual([AMOUNT, 1]);
    await replica.stop();
    await gateway.stop();
  });
});

describe('a list of facilitators on Solana', () => {
  let gateway: Gateway;

  beforeAll(async () => {
    gateway = await startWith([facilitator.url, 'embedded', facilitator.twinUrl]);
  });

  afterAll(async () => {
    await gateway.stop();
  });

  async function signedByUs(): Promise<number> {
    const { rows } = await gateway.sql.query<{ n: number }>(
      'SELECT count(*)::int AS n FROM directory.svm_transaction',
    );
    return rows[0]?.n ?? 0;
  }

  it('offers the fee payer of the first, and leaves each payment to who can sign for its own', async () => {
    expect((await solanaOffer(gateway, AMOUNT)).extra['feePayer']).toBe(facilitator.feePayer);
    for (const [feePayer, name] of [
      [facilitator.feePayer, facilitator.url],
      [gateway.feePayer, 'embedded'],
    ] as const) {
      const payment = await sign(gateway, feePayer);
      const answer = await presentPayment(gateway, payment.header);
      expect(answer.statusCode, answer.body).toBe(200);
      expect((await storedOf(gateway, payment))?.facilitator).toBe(name);
    }
    const stranger = await fundedSolanaWallet(chain, 0n);
    const refused = await sign(gateway, stranger.address);
    expect((await presentPayment(gateway, refused.header)).statusCode).toBe(400);
    expect(await storedOf(gateway, refused)).toBeUndefined();
  });

  it('leaves a payment to the next one that can sign, only if the first one has sent nothing or says so', async () => {
    const before = await signedByUs();
    const lasts: [FacilitatorFault, string][] = [
      ['refuses', facilitator.twinUrl],
      ['says-refused-but-sent', facilitator.twinUrl],
      ['lost-reply', facilitator.url],
      ['lost-broadcast-reply', facilitator.url],
      ['error-after-settle', facilitator.url],
      ['says-success-sent-nothing', facilitator.url],
      ['says-failure-but-sent', facilitator.url],
      ['names-another-transaction', facilitator.url],
      ['slow-settle', facilitator.url],
      ['unknown-code', facilitator.url],
    ];
    const payments = await Promise.all(
      lasts.map(async ([fault, last]) => ({ fault, last, ...(await sign(gateway)) })),
    );
    for (const { key, fault } of payments) await facilitator.plan(key, fault);
    await Promise.all(payments.map(({ header }) => presentPayment(gateway, header)));
    for (const payment of payments) {
      const { fault, last } = payment;
      expect([fault, (await storedOf(gateway, payment))?.facilitator]).toEqual([fault, last]);
    }
    await waitUntilClosed(gateway.sql, {
      timeoutMs: 20_000,
      mayStay: ({ facilitator: last }) => last === facilitator.url,
    });
    for (const payment of payments.filter(({ last }) => last === facilitator.twinUrl))
      expect(await paidAndCredited(gateway, payment)).toEqual([AMOUNT, 1]);
    expect(await signedByUs()).toBe(before);
  });

  it('goes on with the next one that can sign when the first one is down', async () => {
    const payment = await sign(gateway);
    await facilitator.plan(payment.key, 'down-after-verify');
    expect((await presentPayment(gateway, payment.header)).statusCode).toBe(200);
    await facilitator.open();
    expect((await storedOf(gateway, payment))?.facilitator).toBe(facilitator.twinUrl);
    expect(await paidAndCredited(gateway, payment)).toEqual([AMOUNT, 1]);
  });
});
