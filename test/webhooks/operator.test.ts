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
