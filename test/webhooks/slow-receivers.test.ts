import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createCustomer } from '../../src/customers/customers.ts';
import { DEFAULT_CELL, type Queryable } from '../../src/db/queryable.ts';
import { newId } from '../../src/lib/ids.ts';
import { claimDeliveries } from '../../src/webhooks/deliveries.ts';
import { addEvent } from '../../src/webhooks/outbox.ts';
import { createSlots, SLOW_MS } from '../../src/webhooks/slots.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';

describe('one claim', () => {
  let database: TestDatabase;
  let sql: Pool;
  const LEASE_MS = 30_000;

  beforeAll(async () => {
    database = await createTestDatabase();
    sql = new Pool({ connectionString: database.databaseUrl, max: 2 });
    await sql.query(
      `INSERT INTO cell_0.outbox (event_id, account_id, environment, type, payload)
       VALUES ('00000000-0000-4000-8000-000000000000', 1, 'live', 'balance.low', '{}')`,
    );
  });

  afterAll(async () => {
    await sql?.end();
    await database?.drop();
  });

  /** Deliveries that are due, `each` of them to every endpoint; of the operator where there is no account. */
  async function queue(endpoints: readonly { id: string; account: number | null }[], each: number) {
    await sql.query('DELETE FROM cell_0.webhook_delivery');
    await sql.query(
      `INSERT INTO cell_0.webhook_delivery (delivery_id, event_id, environment, endpoint_id, account_id, due_at)
       SELECT gen_random_uuid(), '00000000-0000-4000-8000-000000000000', 'live', e.id, e.account,
         now() - e.position * interval '1 ms'
       FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY e(id, account, position), generate_series(1, $3)`,
      [endpoints.map(({ id }) => id), endpoints.map(({ account }) => account), each],
    );
  }

  it('takes of slow endpoints their share, and leaves the rest to the others', async () => {
    const slots = createSlots();
    const slow = Array.from({ length: 300 }, (_, n) => ({ id: newId(), account: n + 1 }));
    const good = { id: newId(), account: 1_000 };
    for (const { id } of slow) slots.start({ endpointId: id, owner: 'x' })(SLOW_MS + 1);
    // What is slow is due longer, so it would be first.
    await queue([good, ...slow], 8);
    const claim = { allowance: slots.allowance(), leaseMs: LEASE_MS };
    const claimed = await claimDeliveries(sql, DEFAULT_CELL, claim);
    expect(claimed.filter(each => each.endpointId === good.id)).toHaveLength(8);
    expect(claimed).toHaveLength(128 + 8);
    expect(new Set(claimed.map(each => each.endpointId)).size).toBe(128 + 1);
  });

  it.each([
    ['an account', 7],
    ['the operator', null],
  ])('takes of all endpoints of %s together so many, and none twice', async (_, account) => {
    const slots = createSlots();
    const endpoints = Array.from({ length: 10 }, () => ({ id: newId(), account }));
    await queue([...endpoints, { id: newId(), account: 8 }], 8);
    const claim = () =>
      claimDeliveries(sql, DEFAULT_CELL, { allowance: slots.allowance(), leaseMs: LEASE_MS });
    const claimed = await claim();
    const owner = account === null ? 'live' : String(account);
    expect(claimed.filter(each => each.owner === owner)).toHaveLength(32);
    expect(claimed.filter(each => each.owner === '8')).toHaveLength(8);
    const ends = claimed.map(each => slots.start(each));
    expect(await claim()).toEqual([]);
    for (const end of ends) end(1);
    const rest = await claim();
    expect(rest).toHaveLength(32);
    expect(new Set([...claimed, ...rest].map(each => each.deliveryId)).size).toBe(72);
  });

  it('takes nothing that another replica is taking at that moment, and does not wait for it', async () => {
    const slots = createSlots();
    await queue(
      [
        { id: newId(), account: 7 },
        { id: newId(), account: 8 },
      ],
      12,
    );
    const claim = (db: Queryable) =>
      claimDeliveries(db, DEFAULT_CELL, { allowance: slots.allowance(), leaseMs: LEASE_MS });
    const [one, other] = [await sql.connect(), await sql.connect()];
    try {
      await one.query('BEGIN');
      await other.query("SET lock_timeout = '5s'");
      const [first, second] = [await claim(one), await claim(other)];
      await one.query('COMMIT');
      const ids = [...first, ...second].map(each => each.deliveryId);
      expect([first.length, second.length, new Set(ids).size]).toEqual([16, 8, 24]);
    } finally {
      one.release();
      other.release(true);
    }
  });
});

describe('receivers that stop answering, all at once and of many owners', () => {
  let gateway: TestGateway;
  let hanging: Receiver;
  let good: Receiver;

  beforeAll(async () => {
    gateway = await startGateway({ seams: { allowLoopbackWebhooks: true } });
    [hanging, good] = [await startReceiver(), await startReceiver()];
  });

  afterAll(async () => {
    await hanging?.close();
    await good?.close();
    await gateway?.stop();
  });

  async function listen(url: string, endpoints: number) {
    const customer = await createCustomer(gateway.sql, 'live');
    const owner = { kind: 'aitopup', environment: 'live', ...customer } as const;
    for (let n = 0; n < endpoints; n += 1) {
      const order = { url, events: ['balance.low'], verify: false };
      expect(await gateway.services.webhooks.register(owner, order)).toMatchObject({ kind: 'registered' });
    }
    return customer.accountId;
  }

  async function emit(accountId: bigint): Promise<void> {
    const event = { accountId, environment: 'live', type: 'balance.low', payload: {} } as const;
    await addEvent(gateway.sql, DEFAULT_CELL, event);
  }

  it('hold up nobody else until they have timed out', async () => {
    hanging.answers = ['hang'];
    const owners = [];
    for (let n = 0; n < 10; n += 1) owners.push(await listen(hanging.url, 4));
    for (const accountId of owners) for (let n = 0; n < 10; n += 1) await emit(accountId);
    // Every slot that they can have is theirs.
    await vi.waitFor(() => expect(hanging.arrivals.length).toBeGreaterThanOrEqual(256), { timeout: 10_000 });
    await emit(await listen(good.url, 1));
    await vi.waitFor(() => expect(good.arrivals).toHaveLength(1), { timeout: 30_000, interval: 5 });
    const { rows } = await gateway.sql.query<{ n: number }>(
      "SELECT count(*)::int AS n FROM cell_0.webhook_delivery WHERE jsonb_array_length(attempts) > 0 AND state = 'pending'",
    );
    expect(rows).toEqual([{ n: 0 }]);
    hanging.answers = [200];
  });
});
