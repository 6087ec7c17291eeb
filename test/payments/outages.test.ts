import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transferCallData } from '../../src/lib/eip3009.ts';
import { unavailable } from '../../src/lib/errors.ts';
import type { EvmClient } from '../../src/ports/evm-client.ts';
import type { Seams } from '../../src/services.ts';
import { sendAsPayer, usdcTransfersTo } from '../support/chain.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, type SignedPayment, signPayment } from '../support/payment.ts';

/** Which calls of the node fail right now. */
const faults = { call: false, sendLost: false, sendDropped: false, receipt: false };

function faulty(client: EvmClient): EvmClient {
  return {
    ...client,
    call: (...args) => (faults.call ? Promise.reject(unavailable('the Base node')) : client.call(...args)),
    async sendRawTransaction(raw) {
      if (faults.sendDropped) throw unavailable('the Base node');
      await client.sendRawTransaction(raw);
      if (faults.sendLost) throw unavailable('the Base node');
    },
    receipt: hash => (faults.receipt ? Promise.reject(unavailable('the Base node')) : client.receipt(hash)),
  };
}

const seams: Seams = { evmClient: faulty, settleWaitMs: 600, reconcileEveryMs: 100 };

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startGateway({ seams });
});

afterAll(async () => {
  await gateway.stop();
});

function pay(payment: SignedPayment) {
  return gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
}

async function postedOf(wallet: string): Promise<string | undefined> {
  const result = await gateway.sql.query<{ posted: string }>(
    `SELECT a.posted FROM directory.customer_identity i JOIN directory.customer c USING (customer_id)
     JOIN cell_0.account a ON a.account_id = c.account_id WHERE i.value = $1`,
    [`eip155:8453:${wallet.toLowerCase()}`],
  );
  return result.rows[0]?.posted;
}

async function transfersFrom(wallet: string): Promise<number> {
  const transfers = await usdcTransfersTo(gateway.payTo);
  return transfers.filter(t => t.from === wallet.toLowerCase()).length;
}

describe('an outage', () => {
  it('of the node during verification is 503, never a bad signature, and nothing is stored', async () => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    faults.call = true;
    const answer = await pay(payment);
    faults.call = false;
    expect(answer.statusCode).toBe(503);
    expect(answer.headers['retry-after']).toBe('2');
    expect(answer.json()).toMatchObject({ error: 'SERVICE_UNAVAILABLE' });
    const claims = await gateway.sql.query('SELECT count(*)::int AS n FROM directory.payment_claim');
    expect(claims.rows[0].n).toBe(0);
    expect((await pay(payment)).statusCode).toBe(200);
  });

  it('that swallows the answer of the broadcast changes nothing', async () => {
    const payer = await createPayer(100n);
    faults.sendLost = true;
    const answer = await pay(await signPayment(payer, gateway.payTo, 10_000_000n));
    faults.sendLost = false;
    expect(answer.statusCode).toBe(200);
    expect(await transfersFrom(payer.address)).toBe(1);
  });

  it('that swallows the broadcast is pending, and the stored bytes are sent again', async () => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    faults.sendDropped = true;
    const answer = await pay(payment);
    expect(answer.statusCode).toBe(504);
    expect(answer.json()).toMatchObject({ error: 'SETTLEMENT_TIMEOUT' });
    const again = await pay(payment);
    expect([again.statusCode, again.json().error]).toEqual([409, 'PAYMENT_IN_PROGRESS']);
    faults.sendDropped = false;
    await expect.poll(() => postedOf(payer.address), { timeout: 15_000 }).toBe('10000000000');
    expect((await pay(payment)).statusCode).toBe(200);
    expect(await transfersFrom(payer.address)).toBe(1);
  });

  it('after the broadcast is pending, and credited once when the node is back', async () => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    faults.receipt = true;
    const answer = await pay(payment);
    expect(answer.statusCode).toBe(504);
    const { paymentId } = answer.json().details;
    const status = await gateway.app.inject({ method: 'GET', url: `/payments/${paymentId}` });
    expect(status.json()).toMatchObject({ state: 'pending', network: 'eip155:8453' });
    faults.receipt = false;
    await expect.poll(() => postedOf(payer.address), { timeout: 15_000 }).toBe('10000000000');
    expect(await transfersFrom(payer.address)).toBe(1);
  });
});

describe('somebody else', () => {
  it('who sends the authorization first does not stop the credit', async () => {
    const payer = await createPayer(100n);
    const stranger = await createPayer(0n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    await sendAsPayer(
      stranger,
      '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913',
      transferCallData(lowerCase(payment), payment.signature),
    );
    const answer = await pay(payment);
    expect(answer.statusCode).toBe(200);
    expect(answer.json().data.newBalance).toBe(10);
    expect((await pay(payment)).json()).toEqual(answer.json());
    expect(await postedOf(payer.address)).toBe('10000000000');
    expect(await transfersFrom(payer.address)).toBe(1);
  });
});

function lowerCase({ authorization }: SignedPayment) {
  return { ...authorization, from: authorization.from.toLowerCase(), to: authorization.to.toLowerCase() };
}
