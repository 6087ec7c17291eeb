import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { arrived, createOwner, emit, type Owner, startWebhookWorld, type WebhookWorld } from './support.ts';

const OPERATOR = { kind: 'operator', environment: 'live' } as const;

let world: WebhookWorld;
let customer: Owner;

beforeAll(async () => {
  world = await startWebhookWorld({ WEBHOOK_RETRY_SECONDS: '7,11,60,3600' });
  customer = await createOwner(world.gateway);
});

afterAll(() => world?.stop());

afterEach(async () => {
  await world.closeReceivers();
  for (const { id } of await world.gateway.services.webhooks.list(OPERATOR)) {
    await world.gateway.services.webhooks.remove(OPERATOR, id);
  }
});

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

async function admin(method: Method, path: string, payload?: object) {
  const answer = await world.gateway.app.inject({
    method,
    url: `/admin/v1/webhooks${path}`,
    headers: { authorization: `Bearer ${world.gateway.config.adminApiKey}` },
    ...(payload && { payload }),
  });
  return { status: answer.statusCode, body: answer.json<Record<string, unknown>>() };
}

/** Registers an endpoint of the operator. */
async function listen(url: string, more: object = {}): Promise<{ id: string; secret: string }> {
  const { status, body } = await admin('POST', '', { url, ...more });
  expect(status).toBe(200);
  return body as { id: string; secret: string };
}

describe('the schedule of an operator’s webhook', () => {
  it('is the configured one from its first wait on', async () => {
    const receiver = await world.receive(500, 500, 500, 200);
    await listen(receiver.url, { events: ['hold.expired'] });
    await emit(world.gateway, customer, 'hold.expired', {});
    for (const [made, seconds] of [7, 11, 60, 3600].entries()) {
      expect(receiver.arrivals).toHaveLength(made);
      // What is left of the pause when it is looked at.
      const restMs = await world.passPause(OPERATOR, made);
      expect(restMs).toBeLessThanOrEqual(seconds * 1000);
      expect(restMs).toBeGreaterThan((seconds - 5) * 1000);
      await arrived(receiver, made + 1);
    }
    expect(receiver.arrivals.map(each => each.headers['x-webhook-attempt'])).toEqual(['1', '2', '3', '4']);
    await vi.waitFor(async () =>
      expect((await admin('GET', '/deliveries?limit=1')).body).toMatchObject({
        deliveries: [{ state: 'succeeded' }],
      }),
    );
  });

  it('does not hold up a replay', async () => {
    const receiver = await world.receive();
    await listen(receiver.url, { events: ['hold.expired'] });
    await emit(world.gateway, customer, 'hold.expired', {});
    await world.passPause(OPERATOR, 0);
    await arrived(receiver, 1);
    const delivery = await vi.waitFor(async () => {
      const { body } = await admin('GET', '/deliveries?limit=1');
      const [newest] = body['deliveries'] as { id: string; state: string }[];
      expect(newest?.state).toBe('succeeded');
      return newest;
    });
    expect((await admin('POST', `/deliveries/${delivery?.id}/replay`)).status).toBe(200);
    await arrived(receiver, 2);
  });
});

describe('an operator’s webhook', () => {
  /** Tells the operator of something and goes to the time of the first attempt. @returns `count` */
  const told = async (count: number) => {
    await emit(world.gateway, customer, 'hold.expired', {});
    await world.passPause(OPERATOR, 0);
    return count;
  };

  it('gets a new secret, and signs with both for a day', async () => {
    const receiver = await world.receive();
    const { id, secret } = await listen(receiver.url, { events: ['hold.expired'] });
    const { status, body } = await admin('POST', `/${id}/rotate-secret`);
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { id, url: receiver.url, secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/) },
    });
    expect(body['secret']).not.toBe(secret);
    await arrived(receiver, await told(1));
    for (const each of [secret, String(body['secret'])]) {
      await world.expectVerified(receiver.arrivals[0], each);
    }
    // What has arrived is still under way until its result is written, and would be due again a day later.
    await vi.waitFor(async () =>
      expect((await admin('GET', `/deliveries?webhookId=${id}`)).body).toMatchObject({
        deliveries: [{ state: 'succeeded' }],
      }),
    );
    world.clock.forward(86_400_000);
    await arrived(receiver, await told(2));
    const [, later] = receiver.arrivals;
    await world.expectVerified(later, String(body['secret']));
    if (later) await world.expectRefused(later, secret);
  });

  it('that said 410 is started again, and what it missed is replayed', async () => {
    const receiver = await world.receive(410, 200);
    const { id } = await listen(receiver.url, { events: ['hold.expired'] });
    await arrived(receiver, await told(1));
    await vi.waitFor(async () =>
      expect((await admin('GET', '')).body).toMatchObject({ webhooks: [{ id, active: false }] }),
    );
    const [missed] = (await admin('GET', `/deliveries?webhookId=${id}`)).body['deliveries'] as {
      id: string;
    }[];
    const replay = `/deliveries/${missed?.id}/replay`;
    expect(await admin('POST', replay)).toMatchObject({ status: 400 });
    const changed = await admin('PATCH', `/${id}`, { active: true });
    expect(changed).toMatchObject({ status: 200, body: { id, active: true, url: receiver.url } });
    expect(changed.body).not.toHaveProperty('secret');
    expect(await admin('POST', replay)).toMatchObject({ status: 200, body: { replayOf: missed?.id } });
    await arrived(receiver, 2);
    await arrived(receiver, await told(3));
  });

  it('is moved and told other things', async () => {
    const [before, after] = [await world.receive(), await world.receive()];
    const { id, secret } = await listen(before.url, { events: ['hold.expired'] });
    const change = { url: after.url, events: ['payment.failed', 'hold.expired'] };
    expect(await admin('PATCH', `/${id}`, change)).toMatchObject({
      status: 200,
      body: { ...change, active: true },
    });
    await arrived(after, await told(1));
    expect(before.arrivals).toEqual([]);
    await world.expectVerified(after.arrivals[0], secret);
  });

  it.each([
    ['a URL that leads inside', { url: 'https://10.0.0.1/' }, /private/],
    ['an event that there is not', { events: ['x'] }, /no event x/],
    ['no events', { events: [] }, /events/],
    ['another type', { active: 'yes' }, /active/],
    ['what it does not have', { secret: 'whsec_mine' }, /additional/],
  ])('is not changed by %s', async (_, change, message) => {
    const { id } = await listen('http://127.0.0.1:9/');
    const answer = await admin('PATCH', `/${id}`, change);
    expect(answer).toMatchObject({ status: 400, body: { error: 'malformed_request' } });
    expect(answer.body['message']).toMatch(message);
  });

  it('has a log, entry by entry', async () => {
    const receiver = await world.receive(500);
    const { id } = await listen(receiver.url, { events: ['hold.expired'] });
    await arrived(receiver, await told(1));
    const [entry] = await vi.waitFor(async () => {
      const { body } = await admin('GET', `/deliveries?webhookId=${id}`);
      expect(body).toMatchObject({ deliveries: [{ attempts: [{ n: 1, http_status: 500 }] }] });
      return body['deliveries'] as Record<string, unknown>[];
    });
    expect(await admin('GET', `/deliveries/${String(entry?.['id'])}`)).toEqual({ status: 200, body: entry });
    expect(entry).toMatchObject({ state: 'pending', event: 'hold.expired', webhookId: id, replayOf: null });
    expect(await admin('POST', `/deliveries/${String(entry?.['id'])}/replay`)).toMatchObject({ status: 409 });
    expect(await admin('GET', '/deliveries?event=%00')).toMatchObject({ status: 400 });
  });

  it('is found by its id, in its environment alone', async () => {
    const { id } = await listen('http://127.0.0.1:9/', { environment: 'test' });
    const zero = '0'.repeat(32);
    for (const path of [`/${id}`, `/wh_${zero}`, '/nothing']) {
      expect(await admin('PATCH', path, { active: false })).toMatchObject({ status: 404 });
      expect(await admin('POST', `${path}/rotate-secret`)).toMatchObject({ status: 404 });
      expect(await admin('DELETE', path)).toMatchObject({ status: 404 });
    }
    expect(await admin('GET', `/deliveries/dlv_${zero}`)).toMatchObject({ status: 404 });
    const own = { status: 200, body: { id, environment: 'test' } };
    expect(await admin('PATCH', `/${id}?environment=test`, {})).toMatchObject(own);
    expect(await admin('POST', `/${id}/rotate-secret?environment=test`)).toMatchObject(own);
    expect(await admin('DELETE', `/${id}?environment=test`)).toMatchObject({ status: 200 });
  });
});
