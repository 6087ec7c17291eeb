import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { DEFAULT_CELL } from '../../../src/db/queryable.ts';
import { reconcileLedger } from '../../../src/ledger/reconcile.ts';
import { prepareGateway, type TestGateway } from '../../support/gateway.ts';
import { type Arrival, type Receiver, startReceiver } from '../../support/receiver.ts';
import { startVerifiers } from '../../support/webhook-verifiers.ts';
import {
  age,
  balance,
  call,
  createCaller,
  events,
  listen,
  send,
  startAitopupGateway,
  untilState,
} from './aitopup-gateway.ts';
import {
  DELIVERY_SECRET,
  type DeliveryEndpoint,
  type Say,
  startDeliveryEndpoint,
} from './delivery-endpoint.ts';

/** What a test has started, to be stopped in reverse. */
const started: { stop(): Promise<void> }[] = [];

afterEach(async () => {
  for (const part of started.splice(0).toReversed()) await part.stop();
});

/** A database for gateways with different settings, which are not replicas of each other. */
async function openDatabase() {
  const { database, env } = await prepareGateway();
  started.push({ stop: () => database.drop() });
  return async (settings: Record<string, string>): Promise<TestGateway> => {
    const gateway = await startAitopupGateway({ replicaOf: { env } as TestGateway, settings });
    started.push({
      async stop() {
        expect((await reconcileLedger(gateway.sql, DEFAULT_CELL)).breaks).toEqual([]);
        await gateway.stop();
      },
    });
    return gateway;
  };
}

async function startEndpoint(...says: Say[]): Promise<DeliveryEndpoint> {
  const endpoint = await startDeliveryEndpoint(...says);
  started.push({ stop: () => endpoint.close() });
  return endpoint;
}

const createLive = (gateway: TestGateway) => createCaller(gateway, { environment: 'live', cents: 10_000n });

describe('the operator’s endpoint', () => {
  let gateway: TestGateway;
  let endpoint: DeliveryEndpoint;
  let key: string;
  let receiver: Receiver;

  beforeAll(async () => {
    endpoint = await startDeliveryEndpoint();
    gateway = await startAitopupGateway({ settings: endpoint.settings });
    key = (await createLive(gateway)).apiKey;
    receiver = await startReceiver();
    await listen(gateway.app, key, receiver);
  });

  afterAll(async () => {
    expect((await reconcileLedger(gateway.sql, DEFAULT_CELL)).breaks).toEqual([]);
    await gateway?.stop();
    await endpoint?.close();
    await receiver?.close();
  });

  /** Sends while the endpoint says this, in turn. @returns the answer, and what the endpoint was asked */
  async function sendWhile(says: Say[], body: object = {}) {
    endpoint.says = says;
    endpoint.arrivals.length = 0;
    const before = await balance(gateway.app, key);
    const sent = await send(gateway.app, key, body);
    return { ...sent, id: sent.transaction_id, before };
  }

  async function outboxOf(id: string | null): Promise<string[]> {
    const { rows } = await gateway.sql.query<{ type: string }>(
      'SELECT type FROM cell_0.outbox WHERE transaction_id = $1',
      [id],
    );
    return rows.map(row => row.type);
  }

  const status = (id: string | null) => call(gateway.app, `/topup/status/${id}`, { key });
  const revenue = async () => {
    const { rows } = await gateway.sql.query<{ total: string }>(
      'SELECT coalesce(-sum(amount), 0) AS total FROM cell_0.transfer WHERE contra = 1',
    );
    return BigInt(rows[0]?.total ?? '0');
  };

  it('is asked with the order, signed so that both libraries verify it', async () => {
    const verifiers = startVerifiers();
    const order = {
      platform: 'gemini',
      amount_cents: 1_200,
      recipient_email: 'Dana@example.org',
      reference: 'order-1',
      metadata: { a: 'b' },
    };
    const { code, id } = await sendWhile([{ status: 'delivered' }], order);
    expect(code).toBe(1001);
    const [asked, ...more] = endpoint.arrivals;
    expect(more).toEqual([]);
    expect(JSON.parse(asked?.body ?? '')).toEqual({
      ...order,
      transaction_id: id,
      environment: 'live',
      currency: 'USD',
    });
    expect(asked?.headers).toMatchObject({
      'content-type': 'application/json',
      'idempotency-key': id,
      'webhook-id': id,
    });
    expect(await verifiers.verify(asked as Arrival, DELIVERY_SECRET)).toEqual({});
    const wrong = `whsec_${Buffer.alloc(32, 8).toString('base64')}`;
    expect(await verifiers.verify(asked as Arrival, wrong)).toEqual({
      stripe: { error: expect.any(String) },
      standard: { error: expect.any(String) },
    });
    verifiers.stop();
  });

  it('that delivers has given the value: it is earned, and the code is a receipt', async () => {
    const earned = await revenue();
    const to = { recipient_email: 'outside@example.org' };
    const { code, id, data, before } = await sendWhile([{ status: 'delivered' }], to);
    expect(code).toBe(1001);
    expect(data).toMatchObject({
      voucher_code: expect.stringMatching(/^ATU-/),
      new_balance_cents: 1_000,
      wallet_balance_cents: before - 1_000,
    });
    expect(await revenue()).toBe(earned + 10_000_000_000n);
    const buyer = await createCaller(gateway, { environment: 'live', cents: 0n });
    const answer = await gateway.app.inject({
      method: 'POST',
      url: `/admin/v1/vouchers/${String(data['voucher_code'])}/redeem`,
      headers: { authorization: `Bearer ${gateway.config.adminApiKey}` },
      payload: { customerId: buyer.customerId },
    });
    expect([answer.statusCode, answer.json()]).toMatchObject([409, { error: 'conflict' }]);
    expect(await balance(gateway.app, buyer.apiKey)).toBe(0);
    const { rows } = await gateway.sql.query(
      `SELECT coalesce(sum(posted), 0)::text AS credit FROM cell_0.account JOIN directory.customer USING (account_id)
       JOIN directory.customer_identity USING (customer_id) WHERE value = 'claude:outside@example.org'`,
    );
    expect(rows).toEqual([{ credit: '0' }]);
    expect(await outboxOf(id)).toEqual(['topup.delivered']);
  });

  it('says what the recipient has, if it knows', async () => {
    const told = await sendWhile([{ status: 'delivered', new_balance_cents: 5_400 }]);
    expect(told.data).toMatchObject({ new_balance_cents: 5_400 });
    for (const cents of [-1, 1.5, '5400', 1e15, null]) {
      const odd = await sendWhile([{ status: 'delivered', new_balance_cents: cents }], { amount_cents: 100 });
      expect(odd.data).toMatchObject({ new_balance_cents: 100 });
    }
  });

  it('that has not delivered yet is asked again by the same name, and cannot be overtaken', async () => {
    const { code, id, before } = await sendWhile([{ status: 'pending' }]);
    expect(code).toBe(1002);
    const cancel = { key, body: { transaction_id: id } };
    expect(await call(gateway.app, '/topup/cancel', cancel)).toMatchObject({
      status: 409,
      code: 3002,
      state: 'pending',
      data: { reason: 'delivery_in_progress' },
    });
    endpoint.says = [{ status: 'delivered' }];
    await age(gateway, id, 6);
    await untilState(gateway.app, key, id, 'delivered');
    expect(endpoint.arrivals.map(each => each.headers['idempotency-key'])).toEqual([id, id]);
    expect(await balance(gateway.app, key)).toBe(before - 1_000);
  });

  it.each([
    ['provider_error', {}],
    ['recipient_rejected', { failure_reason: 'recipient_rejected' }],
    ['provider_error', { failure_reason: 'something else' }],
  ])('that fails with %s %o ends it with all money back', async (reason, more) => {
    const { id, before } = await sendWhile([{ status: 'failed', ...more }]);
    expect(await status(id)).toMatchObject({
      state: 'failed',
      data: { failure_reason: reason, refunded_cents: 1_000 },
    });
    expect(await balance(gateway.app, key)).toBe(before);
    expect(await outboxOf(id)).toEqual(['topup.failed']);
  });

  it.each([
    ['text', 'delivered'],
    ['no object', 'null'],
    ['a list', ['delivered']],
    ['an unknown state', { status: 'done' }],
    ['500', 500],
    ['404', 404],
    ['a redirect', 302],
    ['a body without an end', 'x'.repeat(100_000)],
  ] as [string, Say][])('that says %s is not believed, and asked again', async (_, say) => {
    const { code, id, before } = await sendWhile([say]);
    expect(code).toBe(1002);
    expect(await outboxOf(id)).toEqual([]);
    endpoint.says = [{ status: 'failed' }];
    await age(gateway, id, 6);
    await untilState(gateway.app, key, id, 'failed');
    expect(endpoint.arrivals.map(each => each.headers['idempotency-key'])).toEqual([id, id]);
    expect(await balance(gateway.app, key)).toBe(before);
  });

  it('that is silent for a quarter of an hour has failed, once', async () => {
    const { id, before } = await sendWhile([500]);
    await age(gateway, id, 895);
    await vi.waitFor(() => expect(endpoint.arrivals).toHaveLength(2), 10_000);
    expect(await status(id)).toMatchObject({ state: 'pending' });
    await age(gateway, id, 5);
    const ended = await untilState(gateway.app, key, id, 'failed');
    expect(ended.data).toMatchObject({ failure_reason: 'timeout', refunded_cents: 1_000 });
    expect(await balance(gateway.app, key)).toBe(before);
    const told = await vi.waitFor(async () => {
      const mine = (await events(receiver, 1)).filter(each => each.transaction_id === id);
      expect(mine).toHaveLength(1);
      return mine;
    }, 10_000);
    expect(told).toMatchObject([{ type: 'topup.failed', data: { failure_reason: 'timeout' } }]);
    await age(gateway, id, 60);
    expect(await outboxOf(id)).toEqual(['topup.failed']);
    const { rows } = await gateway.sql.query(
      'SELECT code FROM cell_0.transfer JOIN cell_0.topup ON id = topup_id WHERE transaction_id = $1',
      [id],
    );
    // One release of the hold, and nothing else.
    expect(rows).toEqual([{ code: 4 }]);
  });

  it('that has delivered is paid although the hold has ended', async () => {
    const { id, before } = await sendWhile([{ status: 'pending' }]);
    await gateway.sql.query(
      `UPDATE cell_0.hold SET expires_at = now() - interval '1 s' FROM cell_0.topup
       WHERE id = topup_id AND transaction_id = $1`,
      [id],
    );
    await gateway.sql.query('SELECT cell_0.sweep_holds(100)');
    expect(await balance(gateway.app, key)).toBe(before);
    endpoint.says = [{ status: 'delivered' }];
    await age(gateway, id, 6);
    await untilState(gateway.app, key, id, 'delivered');
    expect(await balance(gateway.app, key)).toBe(before - 1_000);
  });
});

describe('a top-up belongs to the provider that it was given to', () => {
  it('also when the endpoint is not configured any more: nobody else delivers it', async () => {
    const endpoint = await startEndpoint({ status: 'pending' });
    const start = await openDatabase();
    const gateway = await start(endpoint.settings);
    const { apiKey } = await createLive(gateway);
    const { code, transaction_id: id } = await send(gateway.app, apiKey);
    expect(code).toBe(1002);
    await started.pop()?.stop();
    const plain = await start({});
    await age(plain, id, 60);
    const due = 'SELECT attempts, due_at > now() AS waits, state FROM cell_0.topup WHERE transaction_id = $1';
    await vi.waitFor(async () => {
      const { rows } = await plain.sql.query(due, [id]);
      expect(rows).toEqual([{ attempts: 2, waits: true, state: 'pending' }]);
    }, 10_000);
    const cancel = { key: apiKey, body: { transaction_id: id } };
    expect(await call(plain.app, '/topup/cancel', cancel)).toMatchObject({
      code: 3002,
      data: { reason: 'delivery_in_progress' },
    });
    await age(plain, id, 900);
    const ended = await untilState(plain.app, apiKey, id, 'failed');
    expect(ended.data).toMatchObject({ failure_reason: 'timeout', voucher_code: null });
    expect(await balance(plain.app, apiKey)).toBe(10_000);
  });

  it('also when an endpoint is configured later: it is not asked', async () => {
    const endpoint = await startEndpoint({ status: 'pending' });
    const gateway = await (await openDatabase())(endpoint.settings);
    const { apiKey } = await createLive(gateway);
    const { transaction_id: id } = await send(gateway.app, apiKey);
    // As a crash between the acceptance and the delivery leaves it.
    await gateway.sql.query(
      `UPDATE cell_0.topup SET provider = 'voucher', asked = false WHERE transaction_id = $1`,
      [id],
    );
    expect(endpoint.arrivals).toHaveLength(1);
    await age(gateway, id, 60);
    await untilState(gateway.app, apiKey, id, 'delivered');
    expect(endpoint.arrivals).toHaveLength(1);
  });
});

it('an endpoint that hangs does not hold up what others deliver', async () => {
  const endpoint = await startEndpoint({ status: 'pending' }, 'hang');
  const gateway = await (await openDatabase())(endpoint.settings);
  const [live, staging] = [await createLive(gateway), await createCaller(gateway)];
  const { transaction_id: id } = await send(gateway.app, live.apiKey);
  const pending = await send(gateway.app, staging.apiKey, { recipient_email: 'a+pending@example.org' });
  await age(gateway, id, 60);
  await vi.waitFor(() => expect(endpoint.waiting()).toBe(1), 10_000);
  await age(gateway, pending.transaction_id, 61);
  await untilState(gateway.app, staging.apiKey, pending.transaction_id, 'delivered');
  expect(endpoint.waiting()).toBe(1);
});
