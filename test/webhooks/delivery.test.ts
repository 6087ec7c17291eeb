import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createCustomer } from '../../src/customers/customers.ts';
import { DEFAULT_CELL } from '../../src/db/queryable.ts';
import type { Environment } from '../../src/ports/environment.ts';
import type { EventType } from '../../src/webhooks/events.ts';
import { addEvent } from '../../src/webhooks/outbox.ts';
import type { EndpointOwner } from '../../src/webhooks/webhooks.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startVerifiers } from '../support/webhook-verifiers.ts';

let gateway: TestGateway;
const verifiers = startVerifiers();
const receivers: Receiver[] = [];
/** The clock of the due times; the rest of the world keeps its own. */
let shiftMs = 0;

beforeAll(async () => {
  gateway = await startGateway({
    settings: { DATA_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64') },
    seams: { allowLoopbackWebhooks: true, webhookNow: () => new Date(Date.now() + shiftMs) },
  });
});

afterAll(async () => {
  await gateway?.stop();
  verifiers.stop();
});

afterEach(async () => {
  for (const receiver of receivers.splice(0)) await receiver.close();
});

async function receive(...answers: (number | 'hang')[]): Promise<Receiver> {
  const receiver = await startReceiver();
  if (answers.length > 0) receiver.answers = answers;
  receivers.push(receiver);
  return receiver;
}

/** A new customer as the owner of endpoints. */
async function createOwner(environment: Environment = 'live') {
  const customer = await createCustomer(gateway.sql, environment);
  return { kind: 'aitopup', environment, ...customer } satisfies EndpointOwner;
}

type Owner = Awaited<ReturnType<typeof createOwner>>;

async function register(owner: EndpointOwner, url: string, events: EventType[] = ['balance.low']) {
  const result = await gateway.services.webhooks.register(owner, { url, events, verify: false });
  if (result.kind !== 'registered') throw new Error(result.kind);
  return { id: result.endpoint.id, secret: result.secret };
}

async function emit(owner: Owner, type: EventType = 'balance.low', payload = { balance_cents: 900 }) {
  await addEvent(gateway.sql, DEFAULT_CELL, {
    accountId: owner.accountId,
    environment: owner.environment,
    type,
    payload,
  });
}

const arrived = (receiver: Receiver, count: number) =>
  vi.waitFor(() => expect(receiver.arrivals).toHaveLength(count), { timeout: 10_000, interval: 10 });

async function finalDeliveries(owner: EndpointOwner, count = 1) {
  return vi.waitFor(
    async () => {
      const page = await gateway.services.webhooks.deliveries(owner, { limit: 100 });
      expect(page.deliveries.filter(each => each.state !== 'pending')).toHaveLength(count);
      return page.deliveries;
    },
    { timeout: 10_000, interval: 20 },
  );
}

/** Waits until the newest delivery rests between two attempts, then goes to its time. */
async function passPause(owner: EndpointOwner, made: number): Promise<number> {
  const waitMs = await vi.waitFor(
    async () => {
      const [newest] = (await gateway.services.webhooks.deliveries(owner, { limit: 1 })).deliveries;
      expect(newest?.attempts).toHaveLength(made);
      expect(newest?.nextAttemptAt).toBeDefined();
      return (newest?.nextAttemptAt?.getTime() ?? 0) - (Date.now() + shiftMs);
    },
    { timeout: 10_000, interval: 5 },
  );
  shiftMs += waitMs;
  return waitMs;
}

describe('a delivery', () => {
  it('is verified by stripe and by standardwebhooks, as one and the same request', async () => {
    const owner = await createOwner();
    const receiver = await receive();
    const { secret } = await register(owner, receiver.url);
    await emit(owner);
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
    expect(await verifiers.verify(arrival, secret)).toEqual({ stripe: body.id, standard: body.id });
    const forged = await verifiers.verify({ ...arrival, body: `${arrival.body} ` }, secret);
    expect(forged).toEqual({
      stripe: { error: expect.any(String) },
      standard: { error: expect.any(String) },
    });
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
    const owner = await createOwner();
    const receiver = await receive(500, 500, 200);
    const { secret } = await register(owner, receiver.url);
    await emit(owner);
    const waits = [await passPause(owner, 1), await passPause(owner, 2)];
    expect(waits[0]).toBeGreaterThan(3_000);
    expect(waits[0]).toBeLessThanOrEqual(5_000);
    expect(waits[1]).toBeGreaterThan(28_000);
    expect(waits[1]).toBeLessThanOrEqual(30_000);
    const [delivery] = await finalDeliveries(owner);
    expect(delivery).toMatchObject({ state: 'succeeded', nextAttemptAt: undefined });
    expect(delivery?.attempts.map(each => [each.n, each.http_status])).toEqual([
      [1, 500],
      [2, 500],
      [3, 200],
    ]);
    expect(new Set(receiver.arrivals.map(each => each.body)).size).toBe(1);
    expect(receiver.arrivals.map(each => each.headers['x-aitopup-attempt'])).toEqual(['1', '2', '3']);
    for (const arrival of receiver.arrivals) {
      const id = (JSON.parse(arrival.body) as { id: string }).id;
      expect(await verifiers.verify(arrival, secret)).toEqual({ stripe: id, standard: id });
    }
  });

  it('fails after the third attempt, and is replayed as it was', async () => {
    const owner = await createOwner();
    const receiver = await receive(500, 503, 302, 200);
    const { secret } = await register(owner, receiver.url);
    await emit(owner);
    await passPause(owner, 1);
    await passPause(owner, 2);
    const [failed] = await finalDeliveries(owner);
    expect(failed?.state).toBe('failed');
    expect(failed?.attempts.map(each => each.http_status)).toEqual([500, 503, 302]);
    shiftMs += 120_000;
    expect(await gateway.services.webhooks.replay(owner, failed?.id ?? '')).toMatchObject({
      kind: 'replayed',
      delivery: { state: 'pending', replayOf: failed?.id, eventId: failed?.eventId },
    });
    await finalDeliveries(owner, 2);
    expect(receiver.arrivals).toHaveLength(4);
    const [first, , , replayed] = receiver.arrivals;
    expect(replayed?.body).toBe(first?.body);
    if (replayed)
      expect(await verifiers.verify(replayed, secret)).toEqual({
        stripe: failed?.eventId,
        standard: failed?.eventId,
      });
  });

  it('that cannot be signed is counted and ends, and is good for a replay later', async () => {
    const owner = await createOwner();
    const receiver = await receive();
    const { secret } = await register(owner, receiver.url);
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
    await emit(owner);
    await passPause(owner, 1);
    await passPause(owner, 2);
    const [failed] = await finalDeliveries(owner);
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
    const [arrival] = receiver.arrivals;
    if (!arrival) throw new Error('nothing arrived');
    const eventId = arrival.headers['webhook-id'];
    expect(await verifiers.verify(arrival, secret)).toEqual({ stripe: eventId, standard: eventId });
  });

  it('ends an endpoint that says 410', async () => {
    const owner = await createOwner();
    const receiver = await receive(410);
    await register(owner, receiver.url);
    await emit(owner);
    const [failed] = await finalDeliveries(owner);
    expect(failed).toMatchObject({ state: 'failed', attempts: [{ n: 1, http_status: 410 }] });
    await vi.waitFor(async () =>
      expect(await gateway.services.webhooks.list(owner)).toMatchObject([{ active: false }]),
    );
    await emit(owner);
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
    const owner = await createOwner();
    const receiver = await receive();
    const { id, secret } = await register(owner, receiver.url);
    const rotated = await gateway.services.webhooks.rotateSecret(owner, id);
    await emit(owner);
    await arrived(receiver, 1);
    const [arrival] = receiver.arrivals;
    if (!arrival || !rotated) throw new Error('nothing arrived');
    const eventId = arrival.headers['webhook-id'];
    for (const each of [secret, rotated.secret]) {
      expect(await verifiers.verify(arrival, each)).toEqual({ stripe: eventId, standard: eventId });
    }
  });

  it('is dropped with its endpoint', async () => {
    const owner = await createOwner();
    const receiver = await receive(500);
    const { id } = await register(owner, receiver.url);
    await emit(owner);
    await passPause(owner, 1);
    expect(await gateway.services.webhooks.remove(owner, id)).toBe(true);
    await finalDeliveries(owner);
    shiftMs += 60_000;
    const other = await receive();
    await register(owner, other.url);
    await emit(owner);
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
    const owner = await createOwner();
    const [hanging, good] = [await receive('hang'), await receive()];
    await register(owner, hanging.url);
    await register(owner, good.url);
    for (let n = 0; n < 50; n += 1) await emit(owner);
    await arrived(good, 50);
    expect(hanging.arrivals.length).toBeLessThanOrEqual(8);
    hanging.answers = [200];
  });

  it('get the events of their account, environment and choice, and no others', async () => {
    const [mine, other, staging] = [await createOwner(), await createOwner(), await createOwner('test')];
    const receiver = await receive();
    const tested = await receive();
    await register(mine, receiver.url, ['topup.delivered']);
    await register(staging, tested.url, ['topup.delivered']);
    await emit(other, 'topup.delivered');
    await emit(mine, 'balance.low');
    await emit(mine, 'topup.delivered');
    await emit(staging, 'topup.delivered');
    await arrived(receiver, 1);
    await arrived(tested, 1);
    expect(receiver.arrivals.map(each => each.headers['x-aitopup-event'])).toEqual(['topup.delivered']);
    expect(JSON.parse(tested.arrivals[0]?.body ?? '')).toMatchObject({ environment: 'staging' });
    expect((await gateway.services.webhooks.deliveries(other, { limit: 9 })).deliveries).toEqual([]);
  });

  it('are kept apart by the database too', async () => {
    const [live, test] = [await createOwner('live'), await createOwner('test')];
    await emit(live);
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

  it('are at most ten', async () => {
    const owner = await createOwner();
    for (let n = 0; n < 10; n += 1) await register(owner, 'http://127.0.0.1:9/');
    const order = { url: 'http://127.0.0.1:9/', events: ['balance.low'], verify: false };
    expect(await gateway.services.webhooks.register(owner, order)).toEqual({ kind: 'too_many' });
  });
});

describe('secrets', () => {
  it('are nowhere in the database as they are', async () => {
    const owner = await createOwner();
    const { secret } = await register(owner, 'http://127.0.0.1:9/');
    const { rows } = await gateway.sql.query<{ row: string }>(
      'SELECT e::text AS row FROM directory.webhook_endpoint e WHERE account_id = $1',
      [owner.accountId],
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]?.row).not.toContain(secret.slice(6, 20));
  });
});
