import { afterEach, describe, expect, it, vi } from 'vitest';
import { DEFAULT_CELL } from '../../../src/db/queryable.ts';
import { reconcileLedger } from '../../../src/ledger/reconcile.ts';
import { prepareGateway, type TestGateway } from '../../support/gateway.ts';
import {
  age,
  balance,
  call,
  createCaller,
  send,
  startAitopupGateway,
  untilState,
} from './aitopup-gateway.ts';
import { type DeliveryEndpoint, type Say, startDeliveryEndpoint } from './delivery-endpoint.ts';

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
