import { execFile } from 'node:child_process';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_CELL } from '../../../src/db/queryable.ts';
import { reconcileLedger } from '../../../src/ledger/reconcile.ts';
import { sleep } from '../../../src/lib/deadline.ts';
import type { TestGateway } from '../../support/gateway.ts';
import { type Receiver, startReceiver } from '../../support/receiver.ts';
import {
  age,
  balance,
  call,
  createCaller,
  events,
  listen,
  PREFIX,
  send,
  startAitopupGateway,
  untilState,
} from './aitopup-gateway.ts';

const run = promisify(execFile);

let gateway: TestGateway;
const receivers: Receiver[] = [];

beforeAll(async () => {
  gateway = await startAitopupGateway();
  await gateway.app.listen({ host: '127.0.0.1', port: 0 });
});

afterEach(async () => {
  for (const receiver of receivers.splice(0)) await receiver.close();
});

afterAll(async () => {
  // Whatever the tests did, the books add up.
  expect((await reconcileLedger(gateway.sql, DEFAULT_CELL)).breaks).toEqual([]);
  await gateway?.stop();
});

async function receive(): Promise<Receiver> {
  const receiver = await startReceiver();
  receivers.push(receiver);
  return receiver;
}

async function curl(key: string, body: object): Promise<{ status: number; body: Record<string, unknown> }> {
  const { port } = gateway.app.server.address() as AddressInfo;
  const { stdout } = await run('curl', [
    '-s',
    '-w',
    '\n%{http_code}',
    '-X',
    'POST',
    `http://127.0.0.1:${port}${PREFIX}/topup/send`,
    '-H',
    `Authorization: Bearer ${key}`,
    '-H',
    'Content-Type: application/json',
    '-d',
    JSON.stringify(body),
  ]);
  const [text = '', status] = stdout.split('\n');
  return { status: Number(status), body: JSON.parse(text) as Record<string, unknown> };
}

describe('a top-up', () => {
  it.each([
    ['with a recipient', { recipient_email: 'dana@example.org' }],
    ['for the owner of the key', {}],
  ])('is delivered to curl %s', async (_, recipient) => {
    const { apiKey } = await createCaller(gateway);
    const answer = await curl(apiKey, { platform: 'claude', amount_cents: 1_000, ...recipient });
    expect(answer).toEqual({
      status: 200,
      body: {
        success: true,
        code: 1001,
        transaction_id: expect.stringMatching(/^txn_[0-9a-z]{20}$/),
        status: 'delivered',
        timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
        data: {
          voucher_code: expect.stringMatching(/^ATU(-[2-9A-HJKMNP-TV-Z]{4}){3}$/),
          platform: 'claude',
          amount_cents: 1_000,
          new_balance_cents: 1_000,
          recipient_email: null,
          ...recipient,
          wallet_balance_cents: 99_000,
          currency: 'USD',
          reference: null,
          metadata: {},
          environment: 'staging',
          created_at: expect.any(String),
        },
      },
    });
    expect(await balance(gateway.app, apiKey)).toBe(99_000);
  });

  it('adds to the wallet of its recipient and platform, whoever sends it', async () => {
    const [first, second] = [await createCaller(gateway), await createCaller(gateway)];
    const email = { recipient_email: 'Wallet@Example.org', platform: ' Gemini ' };
    expect((await send(gateway.app, first.apiKey, email)).data).toMatchObject({
      new_balance_cents: 1_000,
      platform: 'gemini',
    });
    const again = await send(gateway.app, second.apiKey, {
      ...email,
      recipient_email: 'wallet@example.org',
      amount_cents: 250,
    });
    expect(again.data).toMatchObject({ new_balance_cents: 1_250 });
    const other = await send(gateway.app, second.apiKey, { ...email, platform: 'chatgpt' });
    expect(other.data).toMatchObject({ new_balance_cents: 1_000 });
  });

  it('stays pending as asked, and is cancelled once with all money back', async () => {
    const { apiKey } = await createCaller(gateway);
    const receiver = await receive();
    await listen(gateway.app, apiKey, receiver);
    const sent = await send(gateway.app, apiKey, { recipient_email: 'dana+pending@example.org' });
    expect(sent).toMatchObject({
      code: 1002,
      success: true,
      state: 'pending',
      data: { voucher_code: null, new_balance_cents: null, wallet_balance_cents: 99_000 },
    });
    const id = sent.transaction_id;
    expect(await call(gateway.app, `/topup/status/${id}`, { key: apiKey })).toMatchObject({
      code: 1002,
      transaction_id: id,
    });
    expect((await call(gateway.app, '/topup/balance', { key: apiKey })).data).toMatchObject({
      held_cents: 1_000,
    });
    const cancel = () => call(gateway.app, '/topup/cancel', { key: apiKey, body: { transaction_id: id } });
    for (let n = 0; n < 2; n += 1) {
      expect(await cancel()).toMatchObject({
        status: 200,
        code: 3001,
        success: true,
        state: 'cancelled',
        data: { refunded_cents: 1_000, wallet_balance_cents: 100_000 },
      });
    }
    expect(await call(gateway.app, `/topup/status/${id}`, { key: apiKey })).toMatchObject({
      code: 3001,
      success: true,
    });
    expect(await balance(gateway.app, apiKey)).toBe(100_000);
    await age(gateway, id, 61);
    const [cancelled] = await events(receiver, 1);
    expect(cancelled).toMatchObject({
      type: 'topup.cancelled',
      status: 'cancelled',
      transaction_id: id,
      data: { refunded_cents: 1_000 },
    });

    const delivered = await send(gateway.app, apiKey);
    const body = { transaction_id: delivered.transaction_id };
    expect(await call(gateway.app, '/topup/cancel', { key: apiKey, body })).toMatchObject({
      status: 409,
      code: 3002,
      success: false,
      state: 'delivered',
    });
    expect(
      receiver.arrivals.filter(each => each.headers['x-aitopup-event'] === 'topup.cancelled'),
    ).toHaveLength(1);
  });

  it.each([
    ['+pending', 61, 'delivered'],
    ['+slow', 6, 'delivered'],
    ['+fail', 3, 'failed'],
    ['+pending', 1_000, 'delivered'],
  ])('sent to %s is after %i s %s', async (suffix, seconds, state) => {
    const { apiKey } = await createCaller(gateway);
    const sent = await send(gateway.app, apiKey, { recipient_email: `dana${suffix}@example.org` });
    expect(sent.code).toBe(1002);
    await age(gateway, sent.transaction_id, seconds);
    const ended = await untilState(gateway.app, apiKey, sent.transaction_id, state);
    expect(await balance(gateway.app, apiKey)).toBe(state === 'delivered' ? 99_000 : 100_000);
    expect(ended).toMatchObject(
      state === 'delivered'
        ? {
            code: 1001,
            data: { voucher_code: expect.stringMatching(/^ATU-/), new_balance_cents: expect.any(Number) },
          }
        : {
            code: 1000,
            success: true,
            data: { failure_reason: 'provider_error', refunded_cents: 1_000, voucher_code: null },
          },
    );
  });

  it('that fails is told by webhook and paid back', async () => {
    const { apiKey } = await createCaller(gateway);
    const receiver = await receive();
    await listen(gateway.app, apiKey, receiver);
    const sent = await send(gateway.app, apiKey, {
      recipient_email: 'dana+fail@example.org',
      metadata: { order: '7' },
    });
    await age(gateway, sent.transaction_id, 3);
    const [failed] = await events(receiver, 1);
    expect(failed).toMatchObject({
      type: 'topup.failed',
      status: 'failed',
      environment: 'staging',
      transaction_id: sent.transaction_id,
      data: {
        failure_reason: 'provider_error',
        refunded_cents: 1_000,
        voucher_code: null,
        metadata: { order: '7' },
      },
    });
    expect(await balance(gateway.app, apiKey)).toBe(100_000);
    const body = { transaction_id: sent.transaction_id };
    expect(await call(gateway.app, '/topup/cancel', { key: apiKey, body })).toMatchObject({
      code: 3002,
      state: 'failed',
    });
  });

  it('tells its code to its owner by webhook, also when the answer did, and to nobody else', async () => {
    const { apiKey } = await createCaller(gateway);
    const [owner, operator] = [await receive(), await receive()];
    await listen(gateway.app, apiKey, owner);
    const registered = await gateway.app.inject({
      method: 'POST',
      url: '/admin/v1/webhooks',
      headers: { authorization: `Bearer ${gateway.config.adminApiKey}` },
      payload: { url: operator.url, environment: 'test' },
    });
    expect(registered.statusCode).toBe(200);
    const sent = await send(gateway.app, apiKey);
    const [told] = await events(owner, 1);
    expect(told).toMatchObject({
      type: 'topup.delivered',
      data: { voucher_code: sent.data['voucher_code'] },
    });
    const toOperator = (await events(operator, 1)).find(each => each.transaction_id === sent.transaction_id);
    expect(toOperator).toMatchObject({ type: 'topup.delivered', data: { voucher_code: null } });
    const id = registered.json<{ id: string }>().id;
    const removed = await gateway.app.inject({
      method: 'DELETE',
      url: `/admin/v1/webhooks/${id}?environment=test`,
      headers: { authorization: `Bearer ${gateway.config.adminApiKey}` },
    });
    expect(removed.json()).toEqual({ id, deleted: true });
  });

  it('is taken five times of twenty at once from a wallet for five', async () => {
    const { apiKey } = await createCaller(gateway, { cents: 5_000n });
    const answers = await Promise.all(Array.from({ length: 20 }, () => send(gateway.app, apiKey)));
    expect(answers.filter(each => each.code === 1001)).toHaveLength(5);
    expect(answers.filter(each => each.code === 2002 && each.status === 402)).toHaveLength(15);
    expect(await balance(gateway.app, apiKey)).toBe(0);
  });

  it('ends once when it is cancelled and delivered at the same moment', async () => {
    const { apiKey } = await createCaller(gateway);
    for (let n = 0; n < 8; n += 1) {
      const sent = await send(gateway.app, apiKey, { recipient_email: 'dana+pending@example.org' });
      const body = { transaction_id: sent.transaction_id };
      const before = await balance(gateway.app, apiKey);
      await age(gateway, sent.transaction_id, 61);
      // The worker looks every quarter of a second, so over the rounds either of the two is first.
      await sleep(n * 35);
      const cancelled = await call(gateway.app, '/topup/cancel', { key: apiKey, body });
      const state = cancelled.code === 3001 ? 'cancelled' : 'delivered';
      await untilState(gateway.app, apiKey, sent.transaction_id, state);
      expect(await balance(gateway.app, apiKey)).toBe(state === 'cancelled' ? before + 1_000 : before);
    }
  });
});

describe('a repetition', () => {
  it('is answered as the first call was, byte for byte, also from an empty wallet', async () => {
    const { apiKey, customerId } = await createCaller(gateway, { cents: 1_000n });
    const receiver = await receive();
    await listen(gateway.app, apiKey, receiver);
    const name = { 'idempotency-key': 'order 1' };
    const first = await send(gateway.app, apiKey, { recipient_email: 'a@example.org' }, name);
    expect(first.headers).not.toHaveProperty('idempotent-replayed');
    expect(await balance(gateway.app, apiKey)).toBe(0);
    const payload = '{"recipient_email":"a@example.org",  "amount_cents":1000, "platform":"claude"}';
    const again = await call(gateway.app, '/topup/send', { key: apiKey, headers: name, payload });
    expect(again.text).toBe(first.text);
    expect(again).toMatchObject({ status: 200, code: 1001, headers: { 'idempotent-replayed': 'true' } });
    expect(await send(gateway.app, apiKey, { recipient_email: 'b@example.org' }, name)).toMatchObject({
      status: 409,
      code: 2006,
      data: { reason: 'idempotency_key_reused' },
    });
    const list = await call(gateway.app, '/topup/history', { key: apiKey });
    expect(list.data).toMatchObject({ count: 1, transactions: [{ transaction_id: first.transaction_id }] });
    // One event of this wallet was written, whenever it is delivered, and one charge.
    const { rows } = await gateway.sql.query(
      `SELECT o.transaction_id, o.type, (SELECT count(*)::int FROM cell_0.transfer t
         WHERE t.account_id = o.account_id AND t.amount < 0) AS debits
       FROM cell_0.outbox o JOIN directory.customer c USING (account_id) WHERE c.customer_id = $1`,
      [customerId],
    );
    expect(rows).toEqual([{ transaction_id: first.transaction_id, type: 'topup.delivered', debits: 1 }]);
    expect(await events(receiver, 1)).toHaveLength(1);
  });

  it('at the same moment spends once, and is told to wait', async () => {
    const { apiKey } = await createCaller(gateway);
    const name = { 'idempotency-key': 'race' };
    const answers = await Promise.all(Array.from({ length: 8 }, () => send(gateway.app, apiKey, {}, name)));
    expect(new Set(answers.filter(each => each.success).map(each => each.transaction_id)).size).toBe(1);
    for (const refused of answers.filter(each => !each.success)) {
      expect(refused).toMatchObject({
        code: 2006,
        data: { reason: 'in_progress' },
        headers: { 'retry-after': '1' },
      });
    }
    expect(await balance(gateway.app, apiKey)).toBe(99_000);
  });

  it('of a call that never answered is told what became of it', async () => {
    const { apiKey } = await createCaller(gateway);
    const name = { 'idempotency-key': 'crashed' };
    const first = await send(gateway.app, apiKey, {}, name);
    // As a crash between the acceptance and the answer leaves it.
    await gateway.sql.query(
      `UPDATE cell_0.topup_call c SET status = NULL, body = NULL, created_at = now() - interval '61 s'
       FROM cell_0.topup t WHERE t.topup_id = c.topup_id AND t.transaction_id = $1`,
      [first.transaction_id],
    );
    const again = await send(gateway.app, apiKey, {}, name);
    expect(again).toMatchObject({
      code: 1001,
      transaction_id: first.transaction_id,
      data: { voucher_code: first.data['voucher_code'] },
    });
    expect((await send(gateway.app, apiKey, {}, name)).text).toBe(again.text);
    expect(await balance(gateway.app, apiKey)).toBe(99_000);
  });

  it('is a new top-up after a day, and free after a refusal', async () => {
    const { apiKey } = await createCaller(gateway, { cents: 1_500n });
    const name = { 'idempotency-key': 'refill' };
    expect(await send(gateway.app, apiKey, { amount_cents: 2_000 }, name)).toMatchObject({ code: 2002 });
    const first = await send(gateway.app, apiKey, { amount_cents: 500 }, name);
    expect(first.code).toBe(1001);
    await gateway.sql.query(
      `UPDATE cell_0.topup_call SET created_at = now() - interval '25 hours' WHERE idempotency_key = 'refill'`,
    );
    const later = await send(gateway.app, apiKey, { amount_cents: 500 }, name);
    expect(later.code).toBe(1001);
    expect(later.transaction_id).not.toBe(first.transaction_id);
  });

  it('by reference names the original', async () => {
    const { apiKey } = await createCaller(gateway);
    const first = await send(gateway.app, apiKey, {
      reference: 'order-77',
      recipient_email: 'a+pending@example.org',
    });
    expect(await send(gateway.app, apiKey, { reference: 'order-77' })).toMatchObject({
      status: 409,
      code: 2006,
      transaction_id: first.transaction_id,
      state: 'pending',
      data: { reason: 'duplicate_reference' },
    });
    const other = await createCaller(gateway);
    expect((await send(gateway.app, other.apiKey, { reference: 'order-77' })).code).toBe(1001);
    expect(
      await call(gateway.app, '/topup/cancel', { key: apiKey, body: { reference: 'order-77' } }),
    ).toMatchObject({ code: 3001 });
  });

  it('without a name is a second top-up', async () => {
    const { apiKey } = await createCaller(gateway);
    const [a, b] = [await send(gateway.app, apiKey), await send(gateway.app, apiKey)];
    expect(a.transaction_id).not.toBe(b.transaction_id);
    expect(await balance(gateway.app, apiKey)).toBe(98_000);
  });
});

describe('a wallet', () => {
  it('tells once that it runs low, when it crosses the threshold', async () => {
    const { apiKey } = await createCaller(gateway, { cents: 12_000n });
    const receiver = await receive();
    const { id } = await listen(gateway.app, apiKey, receiver);
    await call(gateway.app, `/webhooks/${id}`, {
      method: 'PATCH',
      key: apiKey,
      body: { events: ['balance.low'] },
    });
    const set = (cents: number | null) =>
      call(gateway.app, '/topup/threshold', { method: 'PUT', key: apiKey, body: { threshold_cents: cents } });
    expect(await set(10_000)).toMatchObject({ code: 1000, data: { threshold_cents: 10_000 } });
    const sent = [];
    for (let n = 0; n < 3; n += 1) sent.push(await send(gateway.app, apiKey, { amount_cents: 1_500 }));
    const [low] = await events(receiver, 1);
    expect(low).toMatchObject({
      type: 'balance.low',
      status: 'ok',
      transaction_id: sent[1]?.transaction_id,
      data: { balance_cents: 9_000, threshold_cents: 10_000, currency: 'USD' },
    });
    // A refund brings it back above the line, and the next crossing is told again.
    await set(7_000);
    const pending = await send(gateway.app, apiKey, {
      amount_cents: 1_000,
      recipient_email: 'a+pending@example.org',
    });
    await call(gateway.app, '/topup/cancel', {
      key: apiKey,
      body: { transaction_id: pending.transaction_id },
    });
    await send(gateway.app, apiKey, { amount_cents: 1_000 });
    const told = await events(receiver, 3);
    expect(told.map(each => each.data['balance_cents'])).toEqual([9_000, 6_500, 6_500]);
    // Setting it above the balance tells at once, setting it again does not.
    await set(8_000);
    await set(8_000);
    await set(null);
    const last = (await events(receiver, 4)).at(-1);
    expect(last).toMatchObject({
      transaction_id: null,
      data: { balance_cents: 6_500, threshold_cents: 8_000 },
    });
    const wallet = await call(gateway.app, '/topup/balance', { key: apiKey });
    expect(wallet.data).toMatchObject({ low_balance_threshold_cents: null });
    const { rows } = await gateway.sql.query(
      `SELECT FROM cell_0.outbox o JOIN directory.customer c USING (account_id)
       JOIN directory.api_key k USING (customer_id) WHERE o.type = 'balance.low' AND k.last_four = $1`,
      [apiKey.slice(-4)],
    );
    expect(rows).toHaveLength(4);
  });

  it('is spent by a key as far as its cap goes', async () => {
    const { apiKey } = await createCaller(gateway, { capCents: 2_500n });
    await send(gateway.app, apiKey);
    const pending = await send(gateway.app, apiKey, { recipient_email: 'a+pending@example.org' });
    expect(await send(gateway.app, apiKey)).toMatchObject({
      status: 402,
      code: 2002,
      data: { reason: 'key_cap' },
    });
    const validated = { platform: 'claude', amount_cents: 1_000 };
    expect(await call(gateway.app, '/topup/validate', { key: apiKey, body: validated })).toMatchObject({
      code: 2002,
      data: { reason: 'key_cap' },
    });
    await call(gateway.app, '/topup/cancel', {
      key: apiKey,
      body: { transaction_id: pending.transaction_id },
    });
    expect((await call(gateway.app, '/topup/balance', { key: apiKey })).data['key']).toMatchObject({
      id: expect.stringMatching(/^key_[0-9a-f]{32}$/),
      cap_cents: 2_500,
      spent_cents: 1_000,
      remaining_cents: 1_500,
      resets_at: expect.stringMatching(/-01T00:00:00Z$/),
    });
    expect((await send(gateway.app, apiKey)).code).toBe(1001);
  });

  it('is not touched by a validation', async () => {
    const { apiKey } = await createCaller(gateway, { cents: 3_000n });
    const body = { platform: 'gemini', amount_cents: 2_500 };
    expect(await call(gateway.app, '/topup/validate', { key: apiKey, body })).toMatchObject({
      code: 1000,
      transaction_id: null,
      data: {
        valid: true,
        platform: 'gemini',
        amount_cents: 2_500,
        wallet_balance_cents: 3_000,
        wallet_balance_after_cents: 500,
      },
    });
    expect(
      await call(gateway.app, '/topup/validate', { key: apiKey, body: { ...body, amount_cents: 3_001 } }),
    ).toMatchObject({
      code: 2002,
      data: { reason: 'wallet_balance' },
    });
    expect((await call(gateway.app, '/topup/history', { key: apiKey })).data).toEqual({
      transactions: [],
      count: 0,
    });
  });

  it('shows its history in pages, newest first', async () => {
    const { apiKey } = await createCaller(gateway);
    const ids = [];
    for (let n = 0; n < 3; n += 1) ids.unshift((await send(gateway.app, apiKey)).transaction_id);
    const page = await call(gateway.app, '/topup/history?limit=2', { key: apiKey });
    const idsOf = (data: Record<string, unknown>) =>
      (data['transactions'] as { transaction_id: string }[]).map(each => each.transaction_id);
    expect(idsOf(page.data)).toEqual(ids.slice(0, 2));
    const next = await call(gateway.app, `/topup/history?limit=2&before=${ids[1]}`, { key: apiKey });
    expect(idsOf(next.data)).toEqual(ids.slice(2));
  });
});
