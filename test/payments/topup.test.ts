import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeBase64Json } from '../../src/lib/base64.ts';
import { sleep } from '../../src/lib/deadline.ts';
import { usdcBalance, usdcTransfersTo } from '../support/chain.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, type SignedPayment, signPayment } from '../support/payment.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startGateway();
});

afterAll(async () => {
  await gateway.stop();
});

function pay(payment: SignedPayment, to: TestGateway = gateway) {
  return to.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'x-402-payment': paymentHeader(payment) },
  });
}

async function creditOf(wallet: string) {
  const result = await gateway.sql.query(
    `SELECT a.posted, (SELECT count(*)::int FROM cell_0.transfer t WHERE t.account_id = a.account_id) AS transfers
     FROM directory.customer_identity i JOIN directory.customer c USING (customer_id)
     JOIN cell_0.account a ON a.account_id = c.account_id WHERE i.value = $1`,
    [`eip155:8453:${wallet.toLowerCase()}`],
  );
  return result.rows[0];
}

describe('a top-up', () => {
  it('moves the money, credits the payer and answers with the receipt', async () => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    const answer = await pay(payment);

    expect(answer.statusCode).toBe(200);
    const wallet = payer.address.toLowerCase();
    expect(answer.json()).toEqual({
      success: true,
      data: { walletAddress: wallet, amountCredited: 10, newBalance: 10, paymentId: expect.any(String) },
    });
    const receipt = decodeBase64Json(String(answer.headers['payment-response']));
    expect(receipt).toEqual({
      success: true,
      network: 'eip155:8453',
      payer: wallet,
      transaction: expect.stringMatching(/^0x[0-9a-f]{64}$/),
    });
    expect(await usdcBalance(payer.address)).toBe(90_000_000n);
    expect(await creditOf(wallet)).toEqual({ posted: '10000000000', transfers: 1 });
  });

  it('answers a repetition with the stored answer, also when the balance has moved on', async () => {
    const payer = await createPayer(100n);
    const first = await signPayment(payer, gateway.payTo, 5_000_000n);
    const answer = await pay(first);
    await pay(await signPayment(payer, gateway.payTo, 7_000_000n));
    const again = await pay(first);
    expect(again.statusCode).toBe(200);
    expect(again.json()).toEqual(answer.json());
    expect(again.headers['payment-response']).toBe(answer.headers['payment-response']);
    expect(await creditOf(payer.address)).toEqual({ posted: '12000000000', transfers: 2 });
  });

  it('is credited once when it is presented 50 times at once', async () => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, gateway.payTo, 5_000_000n);
    const answers = await Promise.all(Array.from({ length: 50 }, () => pay(payment)));

    const statuses = answers.map(a => a.statusCode);
    expect(statuses.filter(s => s === 200).length).toBeGreaterThanOrEqual(1);
    expect(statuses.every(s => s === 200 || s === 409)).toBe(true);
    expect(await creditOf(payer.address)).toEqual({ posted: '5000000000', transfers: 1 });
    expect(
      (await usdcTransfersTo(gateway.payTo)).filter(t => t.from === payer.address.toLowerCase()),
    ).toHaveLength(1);
    expect((await pay(payment)).statusCode).toBe(200);
  });

  it('is one of 20 different payments at once, all of which are credited', async () => {
    const payers = await Promise.all(Array.from({ length: 20 }, () => createPayer(10n)));
    const answers = await Promise.all(
      payers.map(async payer => pay(await signPayment(payer, gateway.payTo, 6_000_000n))),
    );
    expect(answers.map(a => a.statusCode)).toEqual(payers.map(() => 200));
    for (const payer of payers)
      expect(await creditOf(payer.address)).toEqual({ posted: '6000000000', transfers: 1 });
  });

  it('is one of 20 at once from a wallet that is seen for the first time', async () => {
    const payer = await createPayer(1_000n);
    const payments = await Promise.all(
      Array.from({ length: 20 }, () => signPayment(payer, gateway.payTo, 5_000_000n)),
    );
    const answers = await Promise.all(payments.map(payment => pay(payment)));
    expect(answers.map(a => a.statusCode)).toEqual(payments.map(() => 200));
    expect(await creditOf(payer.address)).toEqual({ posted: '100000000000', transfers: 20 });
  });

  it('is credited once when two replicas are given it at once', async () => {
    const replica = await startGateway({ replicaOf: gateway });
    const payer = await createPayer(100n);
    for (let round = 0; round < 5; round += 1) {
      const payment = await signPayment(payer, gateway.payTo, 5_000_000n);
      const answers = await Promise.all([pay(payment), pay(payment, replica)]);
      expect(answers.some(a => a.statusCode === 200)).toBe(true);
    }
    expect(await creditOf(payer.address)).toEqual({ posted: '25000000000', transfers: 5 });
    await replica.stop();
  });

  it('goes on when the caller hangs up', async () => {
    const slow = await startGateway({
      seams: {
        evmClient: client => ({
          ...client,
          async sendRawTransaction(raw) {
            await sleep(500);
            await client.sendRawTransaction(raw);
          },
        }),
      },
    });
    await slow.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = slow.app.server.address() as AddressInfo;
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, slow.payTo, 5_000_000n);
    const caller = new AbortController();
    const call = fetch(`http://127.0.0.1:${port}/api/v1/x402/top-up`, {
      method: 'POST',
      headers: { 'payment-signature': paymentHeader(payment) },
      signal: caller.signal,
    });
    const states = async () => (await slow.sql.query('SELECT state FROM cell_0.payment')).rows;
    await expect.poll(states, { timeout: 10_000 }).toEqual([{ state: 'settling' }]);
    caller.abort();
    await expect(call).rejects.toThrow();
    await expect.poll(states, { timeout: 10_000 }).toEqual([{ state: 'credited' }]);
    await slow.stop();
  });
});
