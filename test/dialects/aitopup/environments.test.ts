import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestGateway } from '../../support/gateway.ts';
import { type Receiver, startReceiver } from '../../support/receiver.ts';
import {
  balance,
  type Caller,
  call,
  createCaller,
  events,
  listen,
  send,
  startAitopupGateway,
} from './aitopup-gateway.ts';

/** Every way to cross from one environment into the other, and from one owner to another. */

let gateway: TestGateway;
let live: Caller;
let staging: Caller;
const receivers: Record<'live' | 'staging', Receiver> = {} as never;

beforeAll(async () => {
  gateway = await startAitopupGateway();
  live = await createCaller(gateway, { environment: 'live', cents: 10_000n });
  staging = await createCaller(gateway, { environment: 'test' });
  receivers.live = await startReceiver();
  receivers.staging = await startReceiver();
});

afterAll(async () => {
  await receivers.live?.close();
  await receivers.staging?.close();
  await gateway?.stop();
});

describe('staging and live', () => {
  it('have wallets, transactions, webhooks and logs of their own', async () => {
    const { app } = gateway;
    const hooks = {
      live: await listen(app, live.apiKey, receivers.live),
      staging: await listen(app, staging.apiKey, receivers.staging),
    };
    const email = { recipient_email: 'same+pending@example.org' };
    const sent = {
      live: await send(app, live.apiKey, email),
      staging: await send(app, staging.apiKey, email),
    };
    // In live the same address is an ordinary one.
    expect(sent.live).toMatchObject({ code: 1001, data: { environment: 'live', new_balance_cents: 1_000 } });
    expect(sent.staging).toMatchObject({ code: 1002, data: { environment: 'staging' } });
    const again = await send(app, staging.apiKey, { recipient_email: 'same@example.org' });
    await send(app, live.apiKey, { recipient_email: 'same@example.org', amount_cents: 300 });
    expect(again.data).toMatchObject({ new_balance_cents: 1_000 });
    expect([await balance(app, live.apiKey), await balance(app, staging.apiKey)]).toEqual([8_700, 98_000]);

    for (const [mine, other] of [
      ['live', 'staging'],
      ['staging', 'live'],
    ] as const) {
      const key = mine === 'live' ? live.apiKey : staging.apiKey;
      const foreign = sent[other].transaction_id;
      const unknown = { status: 404, code: 3003, transaction_id: null };
      expect(await call(app, `/topup/status/${foreign}`, { key })).toMatchObject(unknown);
      expect(await call(app, '/topup/cancel', { key, body: { transaction_id: foreign } })).toMatchObject(
        unknown,
      );
      const history = (await call(app, '/topup/history', { key })).data['transactions'] as {
        environment: string;
      }[];
      expect(new Set(history.map(each => each.environment))).toEqual(new Set([mine]));
      expect((await call(app, `/topup/history?before=${foreign}`, { key })).data).toMatchObject({ count: 0 });
      const id = hooks[other].id;
      const noSuch = { status: 404, code: 3000 };
      expect(await call(app, `/webhooks/${id}`, { key, method: 'DELETE' })).toMatchObject(noSuch);
      expect(
        await call(app, `/webhooks/${id}`, { key, method: 'PATCH', body: { active: false } }),
      ).toMatchObject(noSuch);
      expect(await call(app, `/webhooks/${id}/rotate-secret`, { key, method: 'POST' })).toMatchObject(noSuch);
      const list = await call(app, '/webhooks', { key });
      expect(list.data).toMatchObject({ count: 1, webhooks: [{ id: hooks[mine].id, environment: mine }] });
    }
  });

  it('never hear of each other', async () => {
    const { app } = gateway;
    const [liveEvents, stagingEvents] = [await events(receivers.live, 2), await events(receivers.staging, 1)];
    expect(new Set(liveEvents.map(each => each.environment))).toEqual(new Set(['live']));
    expect(new Set(stagingEvents.map(each => each.environment))).toEqual(new Set(['staging']));
    const log = await call(app, '/webhooks/deliveries', { key: live.apiKey });
    const [delivery] = log.data['deliveries'] as { id: string; webhook_id: string }[];
    expect(await call(app, `/webhooks/deliveries/${delivery?.id}`, { key: staging.apiKey })).toMatchObject({
      code: 3000,
    });
    const replay = `/webhooks/deliveries/${delivery?.id}/replay`;
    expect(await call(app, replay, { key: staging.apiKey, method: 'POST' })).toMatchObject({ code: 3000 });
    const narrowed = `/webhooks/deliveries?webhook_id=${delivery?.webhook_id}`;
    expect((await call(app, narrowed, { key: staging.apiKey })).data).toEqual({
      deliveries: [],
      has_more: false,
    });
    const filtered = `/webhooks/deliveries?event=topup.delivered&limit=1`;
    expect((await call(app, filtered, { key: live.apiKey })).data).toMatchObject({
      deliveries: [{ event: 'topup.delivered', replay_of: null, attempts: expect.any(Array) }],
    });
  });

  it('cannot lend each other an idempotency key or a reference', async () => {
    const name = { 'idempotency-key': 'one' };
    const first = await send(gateway.app, live.apiKey, { reference: 'r' }, name);
    const second = await send(gateway.app, staging.apiKey, { reference: 'r' }, name);
    expect([first.code, second.code]).toEqual([1001, 1001]);
    expect(second.transaction_id).not.toBe(first.transaction_id);
  });

  it('are kept apart by the database where the program would fail', async () => {
    const { rows } = await gateway.sql.query<{
      environment: string;
      account_id: string;
      customer_id: string;
    }>('SELECT environment, account_id, customer_id FROM directory.customer WHERE customer_id = ANY ($1)', [
      [live.customerId, staging.customerId],
    ]);
    const [liveOwner, stagingOwner] = ['live', 'test'].map(name =>
      rows.find(row => row.environment === name),
    );
    const crossings = [
      [
        `INSERT INTO cell_0.topup (topup_id, transaction_id, account_id, environment, key_id, spending_month, platform,
           amount, metadata, provider, asked, due_at)
         VALUES (gen_random_uuid(), 'txn_x', $1, 'test', gen_random_uuid(), now(), 'claude', 1, '{}', 'x', false, now())`,
        liveOwner?.account_id,
        /topup_account_fkey/,
      ],
      [
        `INSERT INTO directory.api_key (key_hash, key_id, customer_id, environment, dialect, last_four)
         VALUES (decode(repeat('00', 32), 'hex'), gen_random_uuid(), $1, 'live', 'aitopup', 'xxxx')`,
        stagingOwner?.customer_id,
        /api_key_customer_fkey/,
      ],
    ] as const;
    for (const [statement, value, refusal] of crossings) {
      await expect(gateway.sql.query(statement, [value])).rejects.toThrow(refusal);
    }
    const moved = await gateway.sql
      .query<{ outcome: string }>(
        `SELECT outcome FROM cell_0.accept_topup(gen_random_uuid(), 'txn_y', $1, 'test', gen_random_uuid(), 'claude', 1,
         NULL, NULL, '{}', 'x', false, NULL, NULL, NULL, 1000, 1000)`,
        [liveOwner?.account_id],
      )
      .catch((error: Error) => error.message);
    expect(JSON.stringify(moved)).not.toContain('accepted');
  });

  it('have contra balances of their own', async () => {
    const { rows } = await gateway.sql.query<{ environment: string; total: string }>(
      `SELECT a.environment, -sum(t.amount) AS total FROM cell_0.transfer t JOIN cell_0.account a USING (account_id)
       WHERE t.contra = 1 GROUP BY 1 ORDER BY 1`,
    );
    // What leaves a sender reaches a recipient of the same environment, so nothing is earned in either.
    expect(rows).toEqual([
      { environment: 'live', total: '0' },
      { environment: 'test', total: '0' },
    ]);
  });
});

describe('one owner', () => {
  it('sees nothing of another of the same environment', async () => {
    const [first, second] = [await createCaller(gateway), await createCaller(gateway)];
    const sent = await send(gateway.app, first.apiKey, { recipient_email: 'a+pending@example.org' });
    expect(
      await call(gateway.app, `/topup/status/${sent.transaction_id}`, { key: second.apiKey }),
    ).toMatchObject({ code: 3003 });
    const body = { transaction_id: sent.transaction_id };
    expect(await call(gateway.app, '/topup/cancel', { key: second.apiKey, body })).toMatchObject({
      code: 3003,
    });
  });
});
