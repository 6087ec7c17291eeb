import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Arrival } from '../support/receiver.ts';
import {
  arrived,
  createOwner,
  emit,
  finalDeliveries,
  register,
  startWebhookWorld,
  type WebhookWorld,
} from './support.ts';

let world: WebhookWorld;
let gateway: WebhookWorld['gateway'];

beforeAll(async () => {
  world = await startWebhookWorld({ DATA_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64') });
  ({ gateway } = world);
});

afterAll(() => world?.stop());
afterEach(() => world.closeReceivers());

/** When an arrival was signed, by both of its signatures. */
function timesOf({ headers }: Arrival): string {
  const [time] = String(headers['x-aitopup-signature']).split(',');
  expect(time).toBe(`t=${String(headers['webhook-timestamp'])}`);
  return String(time);
}

describe('a delivery', () => {
  it('is verified by stripe and by standardwebhooks, as one and the same request', async () => {
    const owner = await createOwner(gateway);
    const receiver = await world.receive();
    const { secret } = await register(gateway, owner, receiver.url);
    await emit(gateway, owner);
    await arrived(receiver, 1);
    const [arrival] = receiver.arrivals;
    if (!arrival) throw new Error('nothing arrived');
    const body = JSON.parse(arrival.body) as { id: string };
    expect(body).toEqual({
      id: expect.stringMatching(/^evt_[0-9a-f]{32}$/),
      type: 'balance.low',
      event: 'balance.low',
      environment: 'live',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      transaction_id: null,
      status: 'ok',
      data: { balance_cents: 900 },
    });
    await world.expectVerified(arrival, secret);
    await world.expectRefused({ ...arrival, body: `${arrival.body} ` }, secret);
    expect(arrival.headers).toMatchObject({
      'content-type': 'application/json',
      'user-agent': 'AiTopUp-Webhooks/1',
      'x-aitopup-event': 'balance.low',
      'x-aitopup-delivery': expect.stringMatching(/^dlv_/),
      'x-aitopup-attempt': '1',
      'webhook-id': body.id,
    });
    expect(arrival.headers['x-aitopup-signature']).toMatch(/^t=\d+,v1=[0-9a-f]{64}$/);
  });

  it('is attempted three times, after 0, 5 and 30 s, with the same bytes and new signatures', async () => {
    const owner = await createOwner(gateway);
    const receiver = await world.receive(500, 500, 200);
    const { secret } = await register(gateway, owner, receiver.url);
    await emit(gateway, owner);
    const waits = [await world.passPause(owner, 1), await world.passPause(owner, 2)];
    expect(waits[0]).toBeGreaterThan(3_000);
    expect(waits[0]).toBeLessThanOrEqual(5_000);
    expect(waits[1]).toBeGreaterThan(28_000);
    expect(waits[1]).toBeLessThanOrEqual(30_000);
    const [delivery] = await finalDeliveries(gateway, owner);
    expect(delivery).toMatchObject({ state: 'succeeded', nextAttemptAt: undefined });
    expect(delivery?.attempts.map(each => [each.n, each.http_status])).toEqual([
      [1, 500],
      [2, 500],
      [3, 200],
    ]);
    expect(new Set(receiver.arrivals.map(each => each.body)).size).toBe(1);
    expect(receiver.arrivals.map(each => each.headers['x-aitopup-attempt'])).toEqual(['1', '2', '3']);
    for (const arrival of receiver.arrivals) await world.expectVerified(arrival, secret);
    expect(new Set(receiver.arrivals.map(timesOf)).size).toBe(3);
  });

  it('fails after the third attempt, and is replayed as it was', async () => {
    const owner = await createOwner(gateway);
    const receiver = await world.receive(500, 503, 302, 200);
    const { secret } = await register(gateway, owner, receiver.url);
    await emit(gateway, owner);
    await world.passPause(owner, 1);
    await world.passPause(owner, 2);
    const [failed] = await finalDeliveries(gateway, owner);
    expect(failed?.state).toBe('failed');
    expect(failed?.attempts.map(each => each.http_status)).toEqual([500, 503, 302]);
    // The first signature is too old for both libraries by now; the replay has one of its own.
    world.clock.forward(301_000);
    expect(await gateway.services.webhooks.replay(owner, failed?.id ?? '')).toMatchObject({
      kind: 'replayed',
      delivery: { state: 'pending', replayOf: failed?.id, eventId: failed?.eventId },
    });
    await finalDeliveries(gateway, owner, 2);
    expect(receiver.arrivals).toHaveLength(4);
    const [first, , , replayed] = receiver.arrivals;
    if (!first || !replayed) throw new Error('nothing arrived');
    await world.expectRefused(first, secret);
    await world.expectVerified(replayed, secret);
    expect(replayed.body).toBe(first.body);
    expect(new Set(receiver.arrivals.map(timesOf)).size).toBe(4);
  });

  it('that cannot be signed is counted and ends, and is good for a replay later', async () => {
    const owner = await createOwner(gateway);
    const receiver = await world.receive();
    const { secret } = await register(gateway, owner, receiver.url);
    const ofOwner = [owner.accountId];
    const { rows } = await gateway.sql.query<{ secret: string }>(
      'SELECT secret FROM directory.webhook_endpoint WHERE account_id = $1',
      ofOwner,
    );
    // As it is when the key that sealed it is missing.
    await gateway.sql.query(
      "UPDATE directory.webhook_endpoint SET secret = 'aes256gcm.' || repeat('x', 80) WHERE account_id = $1",
      ofOwner,
    );
    await emit(gateway, owner);
    await world.passPause(owner, 1);
    await world.passPause(owner, 2);
    const [failed] = await finalDeliveries(gateway, owner);
    expect(failed?.state).toBe('failed');
    expect(failed?.attempts.map(({ n, http_status, error }) => [n, http_status, error])).toEqual([
      [1, null, 'internal'],
      [2, null, 'internal'],
      [3, null, 'internal'],
    ]);
    expect(receiver.arrivals).toEqual([]);
    await gateway.sql.query('UPDATE directory.webhook_endpoint SET secret = $2 WHERE account_id = $1', [
      ...ofOwner,
      rows[0]?.secret,
    ]);
    await gateway.services.webhooks.replay(owner, failed?.id ?? '');
    await arrived(receiver, 1);
    await world.expectVerified(receiver.arrivals[0], secret);
  });

  it('ends an endpoint that says 410', async () => {
    const owner = await createOwner(gateway);
    const receiver = await world.receive(410);
    await register(gateway, owner, receiver.url);
    await emit(gateway, owner);
    const [failed] = await finalDeliveries(gateway, owner);
    expect(failed).toMatchObject({ state: 'failed', attempts: [{ n: 1, http_status: 410 }] });
    await vi.waitFor(async () =>
      expect(await gateway.services.webhooks.list(owner)).toMatchObject([{ active: false }]),
    );
    await emit(gateway, owner);
    await vi.waitFor(async () => {
      const { rows } = await gateway.sql.query(
        'SELECT FROM cell_0.outbox WHERE account_id = $1 AND fanned_out_at IS NULL',
        [owner.accountId],
      );
      expect(rows).toEqual([]);
    });
    expect(receiver.arrivals).toHaveLength(1);
    expect(await gateway.services.webhooks.replay(owner, failed?.id ?? '')).toMatchObject({
      kind: 'invalid_url',
    });
  });

  it('is signed with both secrets after a rotation, and is readable with either', async () => {
    const owner = await createOwner(gateway);
    const receiver = await world.receive();
    const { id, secret } = await register(gateway, owner, receiver.url);
    const rotated = await gateway.services.webhooks.rotateSecret(owner, id);
    if (!rotated) throw new Error('there is no such endpoint');
    await emit(gateway, owner);
    await arrived(receiver, 1);
    for (const each of [secret, rotated.secret]) await world.expectVerified(receiver.arrivals[0], each);
    await finalDeliveries(gateway, owner);
    // A day later the old secret is worth nothing.
    world.clock.forward(86_400_000);
    await emit(gateway, owner);
    await arrived(receiver, 2);
    const [, later] = receiver.arrivals;
    await world.expectVerified(later, rotated.secret);
    if (later) await world.expectRefused(later, secret);
    expect(later?.headers['x-aitopup-signature']).toMatch(/^t=\d+,v1=[0-9a-f]{64}$/);
  });

  it('is dropped with its endpoint', async () => {
    const owner = await createOwner(gateway);
    const receiver = await world.receive(500);
    const { id } = await register(gateway, owner, receiver.url);
    await emit(gateway, owner);
    await world.passPause(owner, 1);
    expect(await gateway.services.webhooks.remove(owner, id)).toBe(true);
    await finalDeliveries(gateway, owner);
    world.clock.forward(60_000);
    const other = await world.receive();
    await register(gateway, owner, other.url);
    await emit(gateway, owner);
    await arrived(other, 1);
    expect(receiver.arrivals).toHaveLength(1);
    const { deliveries } = await gateway.services.webhooks.deliveries(owner, { webhookId: id, limit: 9 });
    expect(await gateway.services.webhooks.replay(owner, deliveries[0]?.id ?? '')).toEqual({
      kind: 'not_found',
    });
  });
});

describe('receivers', () => {
  it('delay nobody but themselves', async () => {
    const owner = await createOwner(gateway);
    const [hanging, good] = [await world.receive('hang'), await world.receive()];
    await register(gateway, owner, hanging.url);
    await register(gateway, owner, good.url);
    for (let n = 0; n < 50; n += 1) await emit(gateway, owner);
    await arrived(good, 50);
    expect(hanging.arrivals.length).toBeLessThanOrEqual(8);
    hanging.answers = [200];
  });

  it('get the events of their account, environment and choice, and no others', async () => {
    const [mine, other, staging] = [
      await createOwner(gateway),
      await createOwner(gateway),
      await createOwner(gateway, 'test'),
    ];
    const receiver = await world.receive();
    const tested = await world.receive();
    await register(gateway, mine, receiver.url, ['topup.delivered']);
    await register(gateway, staging, tested.url, ['topup.delivered']);
    await emit(gateway, other, 'topup.delivered');
    await emit(gateway, mine, 'balance.low');
    await emit(gateway, mine, 'topup.delivered');
    await emit(gateway, staging, 'topup.delivered');
    await arrived(receiver, 1);
    await arrived(tested, 1);
    expect(receiver.arrivals.map(each => each.headers['x-aitopup-event'])).toEqual(['topup.delivered']);
    expect(JSON.parse(tested.arrivals[0]?.body ?? '')).toMatchObject({ environment: 'staging' });
    expect((await gateway.services.webhooks.deliveries(other, { limit: 9 })).deliveries).toEqual([]);
  });

  it('are kept apart by the database too', async () => {
    const [live, test] = [await createOwner(gateway, 'live'), await createOwner(gateway, 'test')];
    await emit(gateway, live);
    const { rows } = await gateway.sql.query<{ event_id: string }>(
      'SELECT event_id FROM cell_0.outbox WHERE account_id = $1',
      [live.accountId],
    );
    const insert = gateway.sql.query(
      `INSERT INTO cell_0.webhook_delivery (delivery_id, event_id, environment, endpoint_id, account_id, due_at)
       VALUES (gen_random_uuid(), $1, 'test', gen_random_uuid(), $2, now())`,
      [rows[0]?.event_id, test.accountId],
    );
    await expect(insert).rejects.toThrow(/webhook_delivery_event_fkey/);
    const crossed = gateway.sql.query(
      `INSERT INTO directory.webhook_endpoint (endpoint_id, environment, kind, customer_id, account_id, url, events, secret)
       VALUES (gen_random_uuid(), 'test', 'aitopup', $1, $2, 'https://x.example', '{a}', 's')`,
      [live.customerId, live.accountId],
    );
    await expect(crossed).rejects.toThrow(/webhook_endpoint_customer_fkey/);
  });
});

describe('secrets', () => {
  it('are nowhere in the database as they are', async () => {
    const owner = await createOwner(gateway);
    const { secret } = await register(gateway, owner, 'http://127.0.0.1:9/');
    const { rows } = await gateway.sql.query<{ row: string }>(
      'SELECT e::text AS row FROM directory.webhook_endpoint e WHERE account_id = $1',
      [owner.accountId],
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]?.row).not.toContain(secret.slice(6, 20));
  });
});
