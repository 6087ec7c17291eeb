import { encodeFunctionData, erc20Abi, parseAbi } from 'viem';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transferCallData } from '../../src/lib/eip3009.ts';
import { unavailable } from '../../src/lib/errors.ts';
import type { EvmClient } from '../../src/ports/evm-client.ts';
import type { Seams } from '../../src/services/seams.ts';
import { mintUsdc, sendAsPayer, usdcTransfersTo } from '../support/chain.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import {
  BASE_USDC,
  createPayer,
  paymentHeader,
  type SignedPayment,
  signPayment,
} from '../support/payment.ts';

/** Selector of `authorizationState(address,bytes32)`. */
const STATE_CALL = '0xe94a0102';

/** Which calls of the node fail right now. */
const faults = {
  call: false,
  /** The node answers about its newest block alone, as one without an archive does for old ones. */
  forgetful: false,
  /** The authorization is used at this node and unused at the one that is asked next. */
  lagging: undefined as Set<string> | undefined,
  sendLost: false,
  sendDropped: false,
  receipt: false,
  beforeSend: undefined as (() => Promise<unknown>) | undefined,
};

function faulty(client: EvmClient): EvmClient {
  return {
    ...client,
    async call(to, data, options) {
      const old = faults.forgetful && (options?.block ?? 2n ** 63n) < (await client.blockNumber());
      if (faults.call || old) throw unavailable('the Base node');
      if (faults.lagging?.has(data)) return `0x${'0'.repeat(64)}`;
      if (data.startsWith(STATE_CALL)) faults.lagging?.add(data);
      return client.call(to, data, options);
    },
    async sendRawTransaction(raw) {
      await faults.beforeSend?.();
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

describe('a payment whose outcome is not known', () => {
  it('and that its payer cancels on chain has failed', async () => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    const { nonce } = payment.authorization;
    faults.sendDropped = true;
    expect((await pay(payment)).statusCode).toBe(504);
    const cancellation = await payer.signTypedData({
      domain: { name: 'USD Coin', version: '2', chainId: 8453, verifyingContract: BASE_USDC },
      types: {
        CancelAuthorization: [
          { name: 'authorizer', type: 'address' },
          { name: 'nonce', type: 'bytes32' },
        ],
      },
      primaryType: 'CancelAuthorization',
      message: { authorizer: payer.address, nonce },
    });
    const abi = parseAbi(['function cancelAuthorization(address,bytes32,bytes)']);
    const args = [payer.address, nonce, cancellation] as const;
    await sendAsPayer(
      payer,
      BASE_USDC,
      encodeFunctionData({ abi, functionName: 'cancelAuthorization', args }),
    );
    faults.sendDropped = false;
    const outcome = async () => {
      const { rows } = await gateway.sql.query(
        'SELECT state, reason FROM cell_0.payment WHERE identity LIKE $1',
        [`%${nonce.toLowerCase()}`],
      );
      return rows[0];
    };
    await expect.poll(outcome, { timeout: 30_000 }).toEqual({ state: 'failed', reason: 'cancelled' });
    expect(await transfersFrom(payer.address)).toBe(0);
    expect((await pay(payment)).statusCode).toBe(402);
  });
});

describe('a payment that somebody else has sent', () => {
  it('is not called spent on the word of a node that has not seen it, and is credited by one that has', async () => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    const { authorization, signature } = payment;
    await sendAsPayer(await createPayer(0n), BASE_USDC, transferCallData(authorization, signature));
    faults.lagging = new Set();
    const answer = await pay(payment);
    expect([faults.lagging.size, answer.statusCode]).toEqual([1, 503]);
    faults.lagging = undefined;
    expect((await pay(payment)).statusCode).toBe(200);
    expect(await postedOf(payer.address)).toBe('10000000000');
  });
});

describe('a payer', () => {
  it('who moves the money away in time is told so, and is credited when it arrives after all', async () => {
    const payer = await createPayer(10n);
    const stranger = await createPayer(0n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    // The money leaves between the rehearsal and the transaction.
    const transfer = encodedTransfer(stranger.address, 10_000_000n);
    faults.beforeSend = () => sendAsPayer(payer, BASE_USDC, transfer);
    const answer = await pay(payment);
    faults.beforeSend = undefined;
    expect([answer.statusCode, answer.json().error]).toEqual([402, 'SETTLEMENT_FAILED']);
    expect(answer.json().details.reason).toBe('reverted');
    expect((await pay(payment)).statusCode).toBe(402);

    // The authorization is still good: somebody sends it once the wallet has money again.
    await mintUsdc(payer.address, 10_000_000n);
    await sendAsPayer(stranger, BASE_USDC, transferCallData(lowerCase(payment), payment.signature));
    faults.call = true;
    expect((await pay(payment)).statusCode).toBe(503);
    faults.call = false;
    const again = await pay(payment);
    expect([again.statusCode, again.json().data?.newBalance]).toEqual([200, 10]);
  });

  it('whose payment was reverted is told so by a node that has forgotten the block', async () => {
    const payer = await createPayer(10n);
    const stranger = await createPayer(0n);
    const transfer = encodedTransfer(stranger.address, 10_000_000n);
    faults.beforeSend = () => sendAsPayer(payer, BASE_USDC, transfer);
    faults.receipt = true;
    const answer = await pay(await signPayment(payer, gateway.payTo, 10_000_000n));
    faults.beforeSend = undefined;
    expect(answer.statusCode).toBe(504);
    await mintUsdc(stranger.address, 1n);
    faults.forgetful = true;
    faults.receipt = false;
    const status = () =>
      gateway.app.inject({ method: 'GET', url: `/payments/${answer.json().details.paymentId}` });
    const state = async () => (await status()).json();
    await expect.poll(state, { timeout: 15_000 }).toMatchObject({ state: 'failed', reason: 'reverted' });
    faults.forgetful = false;
  });

  it('whose payments are reverted again and again is refused for a while, and no payment is stored', async () => {
    const payer = await createPayer(10n);
    const stranger = await createPayer(0n);
    for (let i = 0; i < 3; i += 1) {
      const transfer = encodedTransfer(stranger.address, 10_000_000n);
      faults.beforeSend = () => sendAsPayer(payer, BASE_USDC, transfer);
      expect((await pay(await signPayment(payer, gateway.payTo, 10_000_000n))).statusCode).toBe(402);
      faults.beforeSend = undefined;
      await mintUsdc(payer.address, 10_000_000n);
    }
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    const payments = async () =>
      (await gateway.sql.query('SELECT count(*)::int AS n FROM cell_0.payment')).rows;
    const before = await payments();
    const refused = [await pay(payment), await pay(payment)];
    expect(refused.map(({ statusCode }) => statusCode)).toEqual([400, 400]);
    expect(await payments()).toEqual(before);

    await gateway.sql.query("UPDATE cell_0.payment SET updated_at = updated_at - interval '10 minutes'");
    expect((await pay(payment)).statusCode).toBe(200);
  });

  it('whose reverted payment arrives later is credited without asking again', async () => {
    const payer = await createPayer(10n);
    const stranger = await createPayer(0n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    const transfer = encodedTransfer(stranger.address, 10_000_000n);
    faults.beforeSend = () => sendAsPayer(payer, BASE_USDC, transfer);
    expect((await pay(payment)).statusCode).toBe(402);
    faults.beforeSend = undefined;
    await mintUsdc(payer.address, 10_000_000n);
    await sendAsPayer(stranger, BASE_USDC, transferCallData(lowerCase(payment), payment.signature));
    // Stands for the time after the authorization's end, when the reconciler looks once more.
    await gateway.sql.query("UPDATE cell_0.payment SET due_at = now() WHERE state = 'failed'");
    await expect.poll(() => postedOf(payer.address), { timeout: 15_000 }).toBe('10000000000');
  });
});

describe('a node of another chain', () => {
  it('is not believed, and nothing is sent', async () => {
    const other = await startGateway({
      seams: { evmClient: client => ({ ...client, chainId: () => Promise.resolve(1) }) },
    });
    const payer = await createPayer(100n);
    const answer = await other.app.inject({
      method: 'POST',
      url: '/api/v1/x402/top-up',
      headers: { 'payment-signature': paymentHeader(await signPayment(payer, other.payTo, 10_000_000n)) },
    });
    expect(answer.statusCode).toBe(503);
    expect((await other.app.inject({ method: 'GET', url: '/readyz' })).statusCode).toBe(503);
    const rows = await other.sql.query('SELECT count(*)::int AS n FROM directory.payment_claim');
    expect(rows.rows[0].n).toBe(0);
    await other.stop();
  });
});

describe('a ledger without room for the month', () => {
  it('refuses before anything is sent', async () => {
    const own = await startGateway();
    const payer = await createPayer(100n);
    await own.sql.query('UPDATE cell_0.transfer_window SET id_until = id_from');
    const answer = await own.app.inject({
      method: 'POST',
      url: '/api/v1/x402/top-up',
      headers: { 'payment-signature': paymentHeader(await signPayment(payer, own.payTo, 10_000_000n)) },
    });
    expect(answer.statusCode).toBe(503);
    expect(await usdcTransfersTo(own.payTo)).toEqual([]);
    expect((await own.app.inject({ method: 'GET', url: '/readyz' })).json().status).toBe('not_ready');
    await own.stop();
  });
});

describe('somebody else', () => {
  it('who sends the authorization first does not stop the credit', async () => {
    const payer = await createPayer(100n);
    const stranger = await createPayer(0n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    await sendAsPayer(stranger, BASE_USDC, transferCallData(lowerCase(payment), payment.signature));
    const answer = await pay(payment);
    expect(answer.statusCode).toBe(200);
    expect(answer.json().data.newBalance).toBe(10);
    expect((await pay(payment)).json()).toEqual(answer.json());
    expect(await postedOf(payer.address)).toBe('10000000000');
    expect(await transfersFrom(payer.address)).toBe(1);
  });
});

function encodedTransfer(to: `0x${string}`, amount: bigint) {
  return encodeFunctionData({ abi: erc20Abi, functionName: 'transfer', args: [to, amount] });
}

function lowerCase({ authorization }: SignedPayment) {
  return { ...authorization, from: authorization.from.toLowerCase(), to: authorization.to.toLowerCase() };
}
