import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { TestGateway } from '../../support/gateway.ts';
import { type Receiver, startReceiver } from '../../support/receiver.ts';
import { call, createCaller, listen, send, startAitopupGateway } from './aitopup-gateway.ts';

/** The endpoints and the log of deliveries as they are on the wire. */

let gateway: TestGateway;
/** The clock of the due times stands still, so that no attempt comes before a test has looked. */
let dueAtMs = Date.now();
const receivers: Receiver[] = [];

beforeAll(async () => {
  gateway = await startAitopupGateway({ seams: { webhookNow: () => new Date(dueAtMs) } });
});

afterEach(async () => {
  for (const receiver of receivers.splice(0)) await receiver.close();
});

afterAll(() => gateway?.stop());

async function receive(...answers: number[]): Promise<Receiver> {
  const receiver = await startReceiver();
  if (answers.length > 0) receiver.answers = answers;
  receivers.push(receiver);
  return receiver;
}

const ISO = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
const SECRET = /^whsec_[A-Za-z0-9+/]{43}=$/;
const NOT_FOUND = { status: 404, code: 3000, success: false, data: { reason: 'not_found' } };
const GONE = 'dlv_'.concat('0'.repeat(32));

interface WireDelivery {
  id: string;
  event_id: string;
  state: string;
  code: number | null;
  next_attempt_at: string | null;
  attempts: { n: number; http_status: number | null }[];
}

/** One caller with one receiver of all its events. */
async function world(...answers: number[]) {
  const { apiKey: key } = await createCaller(gateway);
  const receiver = await receive(...answers);
  const { id, secret } = await listen(gateway.app, key, receiver);
  const ask = (path: string, options: Parameters<typeof call>[2] = {}) =>
    call(gateway.app, `/webhooks${path}`, { key, ...options });

  async function log(query = ''): Promise<WireDelivery[]> {
    const { code, data } = await ask(`/deliveries${query}`);
    expect(code).toBe(1000);
    return data['deliveries'] as WireDelivery[];
  }

  return {
    key,
    receiver,
    id,
    secret,
    ask,
    log,
    /** The newest delivery, once it looks so. */
    newest: (expected: object) =>
      vi.waitFor(
        async () => {
          const [delivery] = await log('?limit=1');
          expect(delivery).toMatchObject(expected);
          return delivery as WireDelivery;
        },
        { timeout: 10_000, interval: 10 },
      ),
  };
}

const arrived = (receiver: Receiver, count: number) =>
  vi.waitFor(() => expect(receiver.arrivals).toHaveLength(count), { timeout: 10_000, interval: 10 });

describe('a webhook', () => {
  it('is registered for the events of its choice, after a signed test event', async () => {
    const { apiKey: key } = await createCaller(gateway);
    const receiver = await receive();
    const body = { url: receiver.url, events: ['topup.failed'], verify: true };
    const { code, status, data } = await call(gateway.app, '/webhooks/register', { key, body });
    expect({ code, status }).toEqual({ code: 1000, status: 200 });
    expect(data).toEqual({
      id: expect.stringMatching(/^wh_[0-9a-f]{32}$/),
      webhook_id: data['id'],
      url: receiver.url,
      events: ['topup.failed'],
      environment: 'staging',
      active: true,
      created_at: ISO,
      secret: expect.stringMatching(SECRET),
    });
    expect(receiver.arrivals).toHaveLength(1);
    expect(receiver.arrivals[0]?.headers).toMatchObject({
      'x-aitopup-event': 'webhook.test',
      'x-aitopup-attempt': '1',
      'x-aitopup-signature': expect.stringMatching(/^t=\d+,v1=[0-9a-f]{64}$/),
    });
    const { secret: _, ...shown } = data;
    expect((await call(gateway.app, '/webhooks', { key })).data).toEqual({ webhooks: [shown], count: 1 });
  });

  it('is not the eleventh', async () => {
    const { apiKey: key } = await createCaller(gateway);
    const register = () =>
      call(gateway.app, '/webhooks/register', { key, body: { url: 'http://127.0.0.1:9/' } });
    for (let n = 0; n < 10; n += 1) expect((await register()).code).toBe(1000);
    expect(await register()).toMatchObject({
      status: 400,
      code: 2000,
      success: false,
      data: { reason: 'too_many_webhooks' },
    });
    expect((await call(gateway.app, '/webhooks', { key })).data).toMatchObject({ count: 10 });
  });

  it('is forgotten', async () => {
    const { ask, id, key, receiver, newest } = await world(500);
    await send(gateway.app, key);
    const { id: delivery } = await newest({ state: 'pending', attempts: [{ n: 1, http_status: 500 }] });
    expect(await ask(`/${id}`, { method: 'DELETE' })).toMatchObject({
      status: 200,
      code: 1000,
      success: true,
      data: { id, deleted: true },
    });
    expect(await ask(`/${id}`, { method: 'DELETE' })).toMatchObject(NOT_FOUND);
    expect((await ask('')).data).toEqual({ webhooks: [], count: 0 });
    // What waited for it is not attempted any more, and cannot be replayed.
    await newest({ id: delivery, state: 'failed', code: 5001, next_attempt_at: null });
    expect(await ask(`/deliveries/${delivery}/replay`, { method: 'POST' })).toMatchObject(NOT_FOUND);
    expect(receiver.arrivals).toHaveLength(1);
  });

  it('is changed, and refuses what is none', async () => {
    const { ask, id, key, receiver } = await world();
    const patch = (body: object) => ask(`/${id}`, { method: 'PATCH', body });
    const other = await receive();
    expect(await patch({ url: other.url, events: ['topup.delivered'] })).toMatchObject({
      status: 200,
      code: 1000,
      data: { id, webhook_id: id, url: other.url, events: ['topup.delivered'], active: true },
    });
    await send(gateway.app, key);
    await arrived(other, 1);
    expect(receiver.arrivals).toEqual([]);
    const invalidUrl = { status: 400, code: 5002, success: false, data: { field: 'url' } };
    for (const url of ['https://10.0.0.1/', 'https://user@example.org/', 'nonsense', 7]) {
      expect(await patch({ url })).toMatchObject(invalidUrl);
    }
    for (const change of [{ active: 'no' }, { events: ['x'] }, { events: [] }]) {
      expect(await patch(change)).toMatchObject({ status: 400, code: 2000 });
    }
    expect((await ask('')).data).toMatchObject({ webhooks: [{ url: other.url, active: true }] });
  });

  it('rests while it is not active, and starts again', async () => {
    const { ask, id, key, receiver, log, newest } = await world();
    await send(gateway.app, key);
    const { id: first } = await newest({ state: 'succeeded' });
    const patch = (active: boolean) => ask(`/${id}`, { method: 'PATCH', body: { active } });
    expect(await patch(false)).toMatchObject({ code: 1000, data: { active: false } });
    const { transaction_id: missed } = await send(gateway.app, key);
    // Fanned out, to nobody.
    await vi.waitFor(async () => {
      const { rows } = await gateway.sql.query(
        'SELECT FROM cell_0.outbox WHERE transaction_id = $1 AND fanned_out_at IS NOT NULL',
        [missed],
      );
      expect(rows).toHaveLength(1);
    });
    expect(await ask(`/deliveries/${first}/replay`, { method: 'POST' })).toMatchObject({
      status: 400,
      code: 5002,
      data: { reason: 'invalid_webhook_url' },
    });
    expect(await patch(true)).toMatchObject({ code: 1000, data: { active: true } });
    const sent = await send(gateway.app, key);
    await arrived(receiver, 2);
    expect(await log()).toMatchObject([{ transaction_id: sent.transaction_id }, { id: first }]);
  });

  it('gets a new secret', async () => {
    const { ask, id, secret, key, receiver } = await world();
    const rotated = await ask(`/${id}/rotate-secret`, { method: 'POST' });
    expect(rotated).toMatchObject({
      status: 200,
      code: 1000,
      data: { id, webhook_id: id, url: receiver.url, environment: 'staging', active: true },
    });
    expect(rotated.data['secret']).toMatch(SECRET);
    expect(rotated.data['secret']).not.toBe(secret);
    await send(gateway.app, key);
    await arrived(receiver, 1);
    const signature = String(receiver.arrivals[0]?.headers['x-aitopup-signature']);
    expect(signature).toMatch(/^t=\d+,v1=[0-9a-f]{64},v1=[0-9a-f]{64}$/);
    expect((await ask('')).text).not.toContain('whsec_');
  });
});

describe('a delivery', () => {
  it('is pending between its attempts, and failed with 5001 after the third', async () => {
    const { ask, id, key, newest, receiver } = await world(500, 503, 302, 200);
    const sent = await send(gateway.app, key);
    const pending = await newest({ state: 'pending', code: null, attempts: [{ n: 1 }] });
    expect(pending).toEqual({
      id: expect.stringMatching(/^dlv_[0-9a-f]{32}$/),
      event_id: expect.stringMatching(/^evt_[0-9a-f]{32}$/),
      event: 'topup.delivered',
      webhook_id: id,
      transaction_id: sent.transaction_id,
      state: 'pending',
      code: null,
      replay_of: null,
      next_attempt_at: ISO,
      created_at: ISO,
      attempts: [{ n: 1, at: ISO, http_status: 500, duration_ms: expect.any(Number), error: null }],
    });
    const replay = `/deliveries/${pending.id}/replay`;
    expect(await ask(replay, { method: 'POST' })).toMatchObject({
      status: 409,
      code: 2006,
      success: false,
      data: { reason: 'in_progress' },
    });
    dueAtMs += 5_000;
    await newest({ state: 'pending', attempts: [{ n: 1 }, { n: 2, http_status: 503 }] });
    dueAtMs += 30_000;
    const failed = await newest({
      state: 'failed',
      code: 5001,
      next_attempt_at: null,
      attempts: [{}, {}, { n: 3 }],
    });
    expect(await ask(`/deliveries/${pending.id}`)).toMatchObject({
      status: 200,
      code: 1000,
      data: { delivery: failed },
    });
    // Answered at once, with a delivery of its own.
    const replayed = await ask(replay, { method: 'POST' });
    expect(replayed).toMatchObject({
      status: 200,
      code: 1000,
      success: true,
      data: {
        delivery: {
          event_id: failed.event_id,
          event: 'topup.delivered',
          webhook_id: id,
          transaction_id: sent.transaction_id,
          replay_of: failed.id,
        },
      },
    });
    expect((replayed.data['delivery'] as WireDelivery).id).not.toBe(failed.id);
    await newest({
      state: 'succeeded',
      code: 1000,
      replay_of: failed.id,
      attempts: [{ n: 1, http_status: 200 }],
    });
    expect(receiver.arrivals).toHaveLength(4);
    expect(new Set(receiver.arrivals.map(({ body }) => body)).size).toBe(1);
  });

  it('that nobody knows is not found', async () => {
    const { ask } = await world();
    for (const path of [GONE, 'dlv_1', 'nothing']) {
      expect(await ask(`/deliveries/${path}`)).toMatchObject(NOT_FOUND);
      expect(await ask(`/deliveries/${path}/replay`, { method: 'POST' })).toMatchObject(NOT_FOUND);
    }
  });

  it('is found by state, event, webhook and transaction', async () => {
    const { id, key, log, newest, receiver, ask } = await world(200);
    const delivered = await send(gateway.app, key);
    await newest({ state: 'succeeded' });
    receiver.answers = [500];
    const pending = await send(gateway.app, key, { recipient_email: 'a+pending@example.org' });
    const body = { transaction_id: pending.transaction_id };
    expect(await call(gateway.app, '/topup/cancel', { key, body })).toMatchObject({ code: 3001 });
    await newest({ state: 'pending', attempts: [{ http_status: 500 }] });
    const transactionsOf = async (query: string) =>
      (await log(query)).map(each => (each as unknown as { transaction_id: string }).transaction_id);
    const all = [pending.transaction_id, delivered.transaction_id];
    expect(await transactionsOf('')).toEqual(all);
    expect(await transactionsOf('?state=succeeded')).toEqual(all.slice(1));
    expect(await transactionsOf('?state=pending')).toEqual(all.slice(0, 1));
    expect(await transactionsOf('?state=failed')).toEqual([]);
    expect(await transactionsOf('?event=topup.cancelled')).toEqual(all.slice(0, 1));
    expect(await transactionsOf(`?transaction_id=${delivered.transaction_id}`)).toEqual(all.slice(1));
    expect(await transactionsOf(`?transaction_id=${delivered.transaction_id}&state=pending`)).toEqual([]);
    expect(await transactionsOf(`?webhook_id=${id}`)).toEqual(all);
    expect(await transactionsOf('?webhook_id=nothing')).toEqual([]);
    for (const query of ['?state=lost', '?limit=0', '?limit=101', '?limit=x']) {
      expect(await ask(`/deliveries${query}`)).toMatchObject({ status: 400, code: 2000 });
    }
  });

  it('is read in pages, newest first', async () => {
    const { ask, key, log } = await world();
    for (let n = 0; n < 3; n += 1) await send(gateway.app, key);
    await vi.waitFor(async () => expect(await log()).toHaveLength(3));
    const ids = (await log()).map(each => each.id);
    const page = async (query: string) => {
      const { data } = await ask(`/deliveries${query}`);
      return { ids: (data['deliveries'] as WireDelivery[]).map(each => each.id), more: data['has_more'] };
    };
    expect(await page('?limit=2')).toEqual({ ids: ids.slice(0, 2), more: true });
    expect(await page(`?limit=2&before=${ids[1]}`)).toEqual({ ids: ids.slice(2), more: false });
    expect(await page(`?limit=1&before=${ids[0]}`)).toEqual({ ids: ids.slice(1, 2), more: true });
    expect(await page('?limit=3')).toEqual({ ids, more: false });
    expect(await page('?before=nothing')).toEqual({ ids: [], more: false });
  });
});
