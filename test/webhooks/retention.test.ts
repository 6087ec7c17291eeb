import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_CELL } from '../../src/db/queryable.ts';
import { deleteOldEvents } from '../../src/webhooks/outbox.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { arrived, createOwner, emit, finalDeliveries, register } from './support.ts';

let gateway: TestGateway;
let receiver: Receiver;

beforeAll(async () => {
  gateway = await startGateway({ seams: { allowLoopbackWebhooks: true } });
  receiver = await startReceiver();
});

afterAll(async () => {
  await receiver?.close();
  await gateway?.stop();
});

const OLD = { days: 30, limit: 100 };

async function types(accountId: bigint): Promise<string[]> {
  const { rows } = await gateway.sql.query<{ type: string }>(
    'SELECT type FROM cell_0.outbox WHERE account_id = $1 ORDER BY type',
    [accountId],
  );
  return rows.map(({ type }) => type);
}

describe('old events', () => {
  it('are forgotten with their deliveries, unless somebody is still to be told', async () => {
    const owner = await createOwner(gateway);
    await register(gateway, owner, receiver.url, ['balance.low']);
    await register(gateway, owner, 'http://127.0.0.1:1/', ['hold.expired']);
    await emit(gateway, owner, 'balance.low');
    await emit(gateway, owner, 'hold.expired');
    await emit(gateway, owner, 'payment.pending');
    await arrived(receiver, 1);
    await finalDeliveries(gateway, owner, 1);
    const waiting = 'SELECT FROM cell_0.outbox WHERE fanned_out_at IS NULL';
    await expect.poll(async () => (await gateway.sql.query(waiting)).rowCount).toBe(0);
    const old = "UPDATE cell_0.outbox SET created_at = created_at - interval '31 days' WHERE account_id = $1";
    await gateway.sql.query(old, [owner.accountId]);
    await emit(gateway, owner, 'payment.failed');
    await deleteOldEvents(gateway.sql, DEFAULT_CELL, OLD);
    // The receiver of hold.expired is not there, and its next attempt comes in seconds.
    expect(await types(owner.accountId)).toEqual(['hold.expired', 'payment.failed']);
    const log = await gateway.services.webhooks.deliveries(owner, { limit: 9 });
    expect(log.deliveries).toMatchObject([{ event: 'hold.expired', state: 'pending' }]);
    await gateway.sql.query("UPDATE cell_0.webhook_delivery SET state = 'failed' WHERE account_id = $1", [
      owner.accountId,
    ]);
    await deleteOldEvents(gateway.sql, DEFAULT_CELL, OLD);
    expect(await types(owner.accountId)).toEqual(['payment.failed']);
  });

  it('are not found by a replay that comes while they are deleted', async () => {
    const owner = await createOwner(gateway);
    await register(gateway, owner, receiver.url);
    await emit(gateway, owner);
    const [delivery] = await finalDeliveries(gateway, owner);
    const client = await gateway.sql.connect();
    try {
      await client.query('BEGIN');
      await client.query('DELETE FROM cell_0.outbox WHERE account_id = $1', [owner.accountId]);
      const replay = gateway.services.webhooks.replay(owner, delivery?.id ?? '');
      const waiting = `SELECT count(*)::int AS n FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'`;
      await expect.poll(async () => (await gateway.sql.query<{ n: number }>(waiting)).rows[0]?.n).toBe(1);
      await client.query('COMMIT');
      expect(await replay).toEqual({ kind: 'not_found' });
    } finally {
      client.release();
    }
  });
});
