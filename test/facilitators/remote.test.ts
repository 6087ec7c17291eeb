import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_CELL } from '../../src/db/queryable.ts';
import { failPayment, keepClaim } from '../../src/payments/payment-store.ts';
import type { Seams } from '../../src/services/seams.ts';
import { localChain, usdcTransfersTo } from '../support/chain.ts';
import { runCommand } from '../support/cli.ts';
import { startFacilitator, type TestFacilitator } from '../support/facilitator.ts';
import type { FacilitatorFault } from '../support/facilitator-faults.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, type SignedPayment, signPayment } from '../support/payment.ts';

const seams: Seams = { settleWaitMs: 800, settleTimeoutMs: 700, reconcileEveryMs: 100 };

/** Nobody listens there: the port is reserved. */
const NOBODY = 'http://127.0.0.1:2';

let facilitator: TestFacilitator;
let gateway: TestGateway;
/** The same facilitator first, the embedded one second. */
let listed: TestGateway;

beforeAll(async () => {
  facilitator = await startFacilitator();
  gateway = await startGateway({
    seams,
    settings: { FACILITATORS: facilitator.url, EVM_PRIVATE_KEY: '' },
  });
  listed = await startGateway({ seams, settings: { FACILITATORS: `${facilitator.url},embedded` } });
});

afterAll(async () => {
  await gateway.stop();
  await listed.stop();
  await facilitator.stop();
});

function pay(on: TestGateway, payment: SignedPayment) {
  return on.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
}

async function transfersFrom(on: TestGateway, wallet: string): Promise<number> {
  const transfers = await usdcTransfersTo(on.payTo);
  return transfers.filter(t => t.from === wallet.toLowerCase()).length;
}

async function storedOf(on: TestGateway, payment: SignedPayment) {
  const { rows } = await on.sql.query(
    `SELECT payment_id, state, facilitator, said_settled, credited_nano_usd FROM cell_0.payment WHERE identity LIKE $1`,
    [`%${payment.authorization.nonce.toLowerCase()}`],
  );
  return rows[0];
}

/** Valid just long enough to be verified. */
function soon() {
  return { validBefore: BigInt(Math.floor(Date.now() / 1000) + 9) };
}

/** Waits until the authorization has ended and makes blocks past its end that count as safe. */
async function expireOnChain({ authorization }: SignedPayment): Promise<void> {
  await sleep(Number(authorization.validBefore) * 1000 - Date.now() + 1_000);
  await localChain().mine({ blocks: 4 });
}

/** Runs the command-line tool as an operator does, with the gateway's own settings. */
async function distrusted(on: TestGateway): Promise<string[]> {
  const { rows } = await on.sql.query<{ name: string }>(
    'SELECT name FROM directory.facilitator WHERE distrusted_at IS NOT NULL',
  );
  return rows.map(row => row.name);
}

describe('a remote facilitator', () => {
  it('settles, and the credit comes from the chain', async () => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    const answer = await pay(gateway, payment);
    expect([answer.statusCode, answer.json().data?.newBalance]).toEqual([200, 10]);
    expect(await transfersFrom(gateway, payer.address)).toBe(1);
    expect(await storedOf(gateway, payment)).toMatchObject({
      state: 'credited',
      facilitator: facilitator.url,
    });
    expect((await pay(gateway, payment)).json()).toEqual(answer.json());
  });

  it.each<[FacilitatorFault, number]>([
    ['lost-reply', 200],
    ['lost-broadcast-reply', 200],
    ['error-after-settle', 200],
    ['says-failure-but-sent', 200],
    ['says-refused-but-sent', 200],
    ['names-another-transaction', 200],
    ['names-no-transaction', 200],
    ['slow-answer', 200],
    ['slow-settle', 504],
  ])('with the fault %s: the payer is credited once', async (fault, firstStatus) => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    await facilitator.plan(payment.authorization.nonce, fault);
    const answer = await pay(gateway, payment);
    expect(answer.statusCode).toBe(firstStatus);
    await expect
      .poll(async () => (await storedOf(gateway, payment))?.state, { timeout: 15_000 })
      .toBe('credited');
    expect((await pay(gateway, payment)).json().data).toMatchObject({ amountCredited: 10, newBalance: 10 });
    expect(await transfersFrom(gateway, payer.address)).toBe(1);
  });

  it('that is gone when it is to settle is asked again, and no other one', async () => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    await facilitator.plan(payment.authorization.nonce, 'down-after-verify');
    expect((await pay(gateway, payment)).statusCode).toBe(504);
    expect((await pay(gateway, payment)).statusCode).toBe(409);
    await facilitator.open();
    await expect
      .poll(async () => (await storedOf(gateway, payment))?.state, { timeout: 15_000 })
      .toBe('credited');
    expect(await transfersFrom(gateway, payer.address)).toBe(1);
  });

  it('that sends nothing and does not say so leaves the outcome open until the authorization ends', async () => {
    const payers = await Promise.all([createPayer(100n), createPayer(100n)]);
    const payments = await Promise.all(
      payers.map(payer => signPayment(payer, gateway.payTo, 10_000_000n, soon())),
    );
    const faults: FacilitatorFault[] = ['unknown-code', 'refuses'];
    for (const [index, payment] of payments.entries())
      await facilitator.plan(payment.authorization.nonce, faults[index] ?? 'honest');
    const answers = await Promise.all(payments.map(payment => pay(gateway, payment)));
    expect(answers.map(answer => answer.json().error)).toEqual(['SETTLEMENT_TIMEOUT', 'SETTLEMENT_TIMEOUT']);
    for (const payment of payments) {
      await expireOnChain(payment);
      await expect
        .poll(async () => (await storedOf(gateway, payment))?.state, { timeout: 20_000 })
        .toBe('failed');
    }
    for (const payer of payers) expect(await transfersFrom(gateway, payer.address)).toBe(0);
    expect(await distrusted(gateway)).toEqual([]);
  });

  it('speaks version 1 to one that knows nothing newer', async () => {
    const old = await startFacilitator({ versions: '1' });
    const own = await startGateway({ seams, settings: { FACILITATORS: old.url, EVM_PRIVATE_KEY: '' } });
    await expect.poll(async () => (await old.counts()).supported, { timeout: 5_000 }).toBe(1);
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, own.payTo, 10_000_000n);
    // Version 2 is assumed until it has said what it supports.
    await expect.poll(async () => (await pay(own, payment)).statusCode, { timeout: 5_000 }).toBe(200);
    expect(await transfersFrom(own, payer.address)).toBe(1);
    await own.stop();
    await old.stop();
  });

  it('is shown the headers that are set for it, and refuses without them', async () => {
    const guarded = await startFacilitator({ bearer: 'token-of-ours' });
    const settings = { FACILITATORS: guarded.url, EVM_PRIVATE_KEY: '' };
    const headers = JSON.stringify({ [guarded.url]: { Authorization: 'Bearer token-of-ours' } });
    const known = await startGateway({ seams, settings: { ...settings, FACILITATOR_HEADERS: headers } });
    const unknown = await startGateway({ seams, settings });
    const payer = await createPayer(100n);
    expect((await pay(known, await signPayment(payer, known.payTo, 5_000_000n))).statusCode).toBe(200);
    expect((await pay(unknown, await signPayment(payer, unknown.payTo, 5_000_000n))).statusCode).toBe(503);
    await known.stop();
    await unknown.stop();
    await guarded.stop();
  });

  it('is shown headers that a module of the operator makes for each call', async () => {
    const guarded = await startFacilitator({ bearer: 'made-for-this-call' });
    const module = path.join(import.meta.dirname, '../support/facilitator-auth.mjs');
    const own = await startGateway({
      seams,
      settings: {
        FACILITATORS: guarded.url,
        FACILITATOR_AUTH: JSON.stringify({ [guarded.url]: module }),
        EVM_PRIVATE_KEY: '',
      },
    });
    const payer = await createPayer(100n);
    expect((await pay(own, await signPayment(payer, own.payTo, 5_000_000n))).statusCode).toBe(200);
    await own.stop();
    await guarded.stop();
  });
});

describe('a facilitator that lies about a success', () => {
  it.each(['before', 'after'])('is remembered with a payment that ends %s it says so', async order => {
    const payment = await signPayment(await createPayer(100n), gateway.payTo, 5_000_000n);
    await facilitator.plan(payment.authorization.nonce, 'unknown-code');
    expect((await pay(gateway, payment)).statusCode).toBe(504);
    const { payment_id: id, ...open } = await storedOf(gateway, payment);
    expect(open).toMatchObject({ state: 'pending', said_settled: false });
    const end = () =>
      failPayment(gateway.sql, DEFAULT_CELL, id, { reason: 'expired', recheckAt: new Date() });
    if (order === 'before') await end();
    await keepClaim(gateway.sql, DEFAULT_CELL, id);
    if (order === 'after') await end();
    expect(await storedOf(gateway, payment)).toMatchObject({ state: 'failed', said_settled: true });
  });

  it('is taken out of the list, in other replicas too, until the operator puts it back', async () => {
    const liar = await startFacilitator();
    const settings = { FACILITATORS: `${liar.url},embedded` };
    const first = await startGateway({ seams, settings });
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, first.payTo, 5_000_000n, soon());
    await liar.plan(payment.authorization.nonce, 'says-success-sent-nothing');
    expect((await pay(first, payment)).statusCode).toBe(504);
    expect(await storedOf(first, payment)).toMatchObject({ facilitator: liar.url, said_settled: true });
    await expireOnChain(payment);
    await expect
      .poll(async () => (await storedOf(first, payment))?.state, { timeout: 20_000 })
      .toBe('failed');
    expect(await distrusted(first)).toEqual([liar.url]);
    const readiness = await first.app.inject({ method: 'GET', url: '/readyz' });
    expect(readiness.statusCode).toBe(200);
    expect(readiness.body).toContain(`topup-gateway facilitators trust ${liar.url}`);

    const next = await signPayment(payer, first.payTo, 5_000_000n);
    expect((await pay(first, next)).statusCode).toBe(200);
    expect((await storedOf(first, next))?.facilitator).toBe('embedded');
    const replica = await startGateway({ seams, settings, replicaOf: first });
    const other = await signPayment(payer, first.payTo, 5_000_000n);
    expect((await pay(replica, other)).statusCode).toBe(200);
    expect((await storedOf(first, other))?.facilitator).toBe('embedded');

    expect(await runCommand(first, ['facilitators', '--json'])).toMatchObject({
      code: 1,
      output: {
        facilitators: [
          { name: liar.url, trusted: false },
          { name: 'embedded', trusted: true },
        ],
      },
    });
    expect((await runCommand(first, ['facilitators', 'trust', liar.url])).code).toBe(0);
    expect((await runCommand(first, ['facilitators'])).code).toBe(0);
    const again = await signPayment(payer, first.payTo, 5_000_000n);
    await replica.stop();
    const restarted = await startGateway({ seams, settings, replicaOf: first });
    expect((await pay(restarted, again)).statusCode).toBe(200);
    expect((await storedOf(first, again))?.facilitator).toBe(liar.url);
    await restarted.stop();
    await first.stop();
    await liar.stop();
  });
});

describe('an ordered list', () => {
  it('verifies with the next one while the first is down, and settles with the one that verified', async () => {
    const settings = { FACILITATORS: `${NOBODY},${facilitator.url}`, EVM_PRIVATE_KEY: '' };
    const own = await startGateway({ seams, settings });
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, own.payTo, 5_000_000n);
    expect((await pay(own, payment)).statusCode).toBe(200);
    expect((await storedOf(own, payment))?.facilitator).toBe(facilitator.url);
    await own.stop();
  });

  it.each<[FacilitatorFault, string]>([
    ['down-after-verify', 'the connection was refused'],
    ['refuses', 'the code means that nothing was sent'],
    ['says-refused-but-sent', 'the code means so, although it is not true'],
  ])('settles with the next one after %s: %s', async fault => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, listed.payTo, 5_000_000n);
    await facilitator.plan(payment.authorization.nonce, fault);
    expect((await pay(listed, payment)).statusCode).toBe(200);
    await facilitator.open();
    expect(await storedOf(listed, payment)).toMatchObject({ state: 'credited', facilitator: 'embedded' });
    expect(await transfersFrom(listed, payer.address)).toBe(1);
  });

  it('keeps a payment where it is once a reconciler of another replica has asked there, too', async () => {
    const payer = await createPayer(100n);
    let replica: TestGateway | undefined;
    const attempts = async () =>
      (await own.sql.query<{ attempts: number }>('SELECT attempts FROM cell_0.payment')).rows[0]?.attempts;
    const own = await startGateway({
      settings: { FACILITATORS: `${facilitator.url},embedded` },
      seams: {
        ...seams,
        facilitator: member => ({
          ...member,
          async settle(paymentId, payment) {
            const result = await member.settle(paymentId, payment);
            if (member.name === 'embedded' || replica) return result;
            // It has sent nothing, and before that is acted on, a replica starts and takes the payment on.
            replica = await startGateway({ seams: { ...seams, reconcileEveryMs: 50 }, replicaOf: own });
            await expect.poll(attempts, { timeout: 10_000 }).toBeGreaterThan(0);
            return result;
          },
        }),
        reconcileEveryMs: 3_600_000,
      },
    });
    const payment = await signPayment(payer, own.payTo, 5_000_000n);
    await facilitator.plan(payment.authorization.nonce, 'refuses');
    expect((await pay(own, payment)).statusCode).toBe(504);
    expect(await storedOf(own, payment)).toMatchObject({ state: 'pending', facilitator: facilitator.url });
    expect((await own.sql.query('SELECT FROM directory.evm_transaction')).rowCount).toBe(0);
    await replica?.stop();
    await own.stop();
  });

  it.each<FacilitatorFault>(['lost-reply', 'error-after-settle', 'unknown-code', 'says-failure-but-sent'])(
    'never settles with the next one after %s',
    async fault => {
      const sent = async () => {
        const { rows } = await listed.sql.query('SELECT count(*)::int AS n FROM directory.evm_transaction');
        return rows[0].n;
      };
      const before = await sent();
      const payer = await createPayer(100n);
      const payment = await signPayment(payer, listed.payTo, 5_000_000n);
      await facilitator.plan(payment.authorization.nonce, fault);
      await pay(listed, payment);
      expect((await storedOf(listed, payment))?.facilitator).toBe(facilitator.url);
      expect(await sent()).toBe(before);
    },
  );

  it('is 503 and stores nothing when every one is down, and offers are still made', async () => {
    const own = await startGateway({ seams, settings: { FACILITATORS: NOBODY, EVM_PRIVATE_KEY: '' } });
    const payer = await createPayer(100n);
    const answer = await pay(own, await signPayment(payer, own.payTo, 5_000_000n));
    expect([answer.statusCode, answer.headers['retry-after']]).toEqual([503, '2']);
    const claims = await own.sql.query('SELECT count(*)::int AS n FROM directory.payment_claim');
    expect(claims.rows[0].n).toBe(0);
    expect((await own.app.inject({ method: 'POST', url: '/api/v1/x402/top-up' })).statusCode).toBe(402);
    const found = await runCommand(own, ['doctor']);
    expect(found.code).toBe(1);
    expect(JSON.stringify(found.output)).toContain(
      `FACILITATORS: ${NOBODY}: it has never said what it supports (supported: ECONNREFUSED)`,
    );
    await own.stop();
  });
});
