import { privateKeyToAddress } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { decodeBase64Json, encodeBase64Json } from '../../../src/lib/base64.ts';
import type { LocalEvmChain } from '../../../src/local/evm-chain.ts';
import type { TestGateway } from '../../support/gateway.ts';
import { BASE_USDC, createPayer, paymentJson, signPayment } from '../../support/payment.ts';
import { type Receiver, startReceiver } from '../../support/receiver.ts';
import { SEPOLIA_DOMAIN, SEPOLIA_USDC, startSepolia } from '../dria/dria-gateway.ts';
import {
  balance,
  type Caller,
  call,
  createCaller,
  events,
  listen,
  send,
  startAitopupGateway,
  useTool,
} from './aitopup-gateway.ts';

/** Every way to cross from one environment into the other, and from one owner to another. */

let gateway: TestGateway;
let sepolia: LocalEvmChain;
let live: Caller;
let staging: Caller;
const receivers: Record<'live' | 'staging', Receiver> = {} as never;

beforeAll(async () => {
  sepolia = await startSepolia();
  gateway = await startAitopupGateway({
    settings: { NETWORKS: 'eip155:8453,eip155:84532', BASE_SEPOLIA_RPC_URL: sepolia.rpcUrl },
  });
  await sepolia.fundGas(privateKeyToAddress(gateway.config.evmPrivateKeys[0] as `0x${string}`), 10n ** 20n);
  live = await createCaller(gateway, { environment: 'live', cents: 10_000n });
  staging = await createCaller(gateway, { environment: 'test' });
  receivers.live = await startReceiver();
  receivers.staging = await startReceiver();
});

afterAll(async () => {
  await receivers.live?.close();
  await receivers.staging?.close();
  await gateway?.stop();
  await sepolia?.stop();
});

/** From where to where. */
const WAYS = [
  ['live', 'staging'],
  ['staging', 'live'],
] as const;

const assets = { live: BASE_USDC, staging: SEPOLIA_USDC };

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

    for (const [mine, other] of WAYS) {
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

describe('no way leads across:', () => {
  it('money of one network is taken with the keys of its environment alone', async () => {
    const { app, payTo } = gateway;
    const keys = {
      live: (await createCaller(gateway, { environment: 'live', cents: 0n })).apiKey,
      staging: (await createCaller(gateway, { cents: 0n })).apiKey,
    };
    const networks = { live: 'eip155:8453', staging: 'eip155:84532' };
    const body = { amount_cents: 1_000 };
    const payer = await createPayer(100n);
    await sepolia.mint(payer.address, 100_000_000n);
    const domains = { live: {}, staging: { domain: SEPOLIA_DOMAIN } };
    for (const [mine, other] of WAYS) {
      const asked = await call(app, '/topup/fund', { key: keys[mine], body });
      const { accepts } = decodeBase64Json(String(asked.headers['payment-required'])) as {
        accepts: { network: string }[];
      };
      expect(accepts.map(each => each.network)).toEqual([networks[mine]]);
      const payload = paymentJson(await signPayment(payer, payTo, 10_000_000n, domains[mine]));
      const header = (accepted: object) => ({
        'payment-signature': encodeBase64Json({ x402Version: 2, accepted, payload }),
      });
      const pay = (key: string, accepted: object) =>
        call(app, '/topup/fund', { key, body, headers: header(accepted) });
      expect(await pay(keys[other], accepts[0] ?? {})).toMatchObject({ status: 400, code: 2000 });
      // Under the name of the other network the signature is nobody's.
      const renamed = { ...accepts[0], network: networks[other], asset: assets[other] };
      expect(await pay(keys[other], renamed)).toMatchObject({
        status: 402,
        data: { reason: 'payment_refused' },
      });
      expect([await balance(app, keys[mine]), await balance(app, keys[other])]).toEqual(
        mine === 'live' ? [0, 0] : [0, 1_000],
      );
      expect(await pay(keys[mine], accepts[0] ?? {})).toMatchObject({
        code: 1000,
        data: { environment: mine, wallet_balance_cents: 1_000 },
      });
    }
  });

  it.each(['live', 'staging'] as const)('a voucher of %s is worth nothing to the other', async mine => {
    const { app, config } = gateway;
    const sent = await send(app, mine === 'live' ? live.apiKey : staging.apiKey);
    const redeem = (customerId: string) =>
      app.inject({
        method: 'POST',
        url: `/admin/v1/vouchers/${String(sent.data['voucher_code'])}/redeem`,
        headers: { authorization: `Bearer ${config.adminApiKey}` },
        payload: { customerId },
      });
    const refused = await redeem((mine === 'live' ? staging : live).customerId);
    expect([refused.statusCode, refused.json()]).toMatchObject([409, { error: 'conflict' }]);
    const taken = await redeem((mine === 'live' ? live : staging).customerId);
    expect(taken.json()).toMatchObject({
      amountUsd: '10',
      environment: mine === 'live' ? 'live' : 'test',
    });
  });

  it('the tools of the MCP server see what the key sees', async () => {
    const { app } = gateway;
    const input = { platform: 'claude', amount_cents: 100, idempotency_key: 'over mcp' };
    const sent = {
      live: await useTool(app, live.apiKey, 'topup_send', input),
      staging: await useTool(app, staging.apiKey, 'topup_send', input),
    };
    expect([sent.live['code'], sent.staging['code']]).toEqual([1001, 1001]);
    expect(sent.live['transaction_id']).not.toBe(sent.staging['transaction_id']);
    // Over HTTP the same name of the same key is the same call.
    const { idempotency_key: name, ...body } = input;
    const again = await send(app, live.apiKey, body, { 'idempotency-key': name });
    expect([again.transaction_id, again.headers['idempotent-replayed']]).toEqual([
      sent.live['transaction_id'],
      'true',
    ]);
    for (const [mine, other] of WAYS) {
      const key = mine === 'live' ? live.apiKey : staging.apiKey;
      const foreign = { transaction_id: sent[other]['transaction_id'] };
      const unknown = { code: 3003, transaction_id: null };
      expect(await useTool(app, key, 'topup_status', foreign)).toMatchObject(unknown);
      expect(await useTool(app, key, 'topup_cancel', foreign)).toMatchObject(unknown);
      expect(await useTool(app, key, 'topup_balance')).toMatchObject({ data: { environment: mine } });
    }
  });

  it('a reference names a top-up of its own environment', async () => {
    const { app } = gateway;
    const reference = 'across';
    const pending = await send(app, staging.apiKey, { reference, recipient_email: 'a+pending@example.org' });
    expect(pending.code).toBe(1002);
    expect(await call(app, '/topup/cancel', { key: live.apiKey, body: { reference } })).toMatchObject({
      code: 3003,
    });
    expect(await useTool(app, live.apiKey, 'topup_cancel', { reference })).toMatchObject({ code: 3003 });
    expect((await send(app, live.apiKey, { reference, amount_cents: 100 })).code).toBe(1001);
    // And there it is delivered, while here it can still be cancelled.
    expect(await call(app, '/topup/cancel', { key: live.apiKey, body: { reference } })).toMatchObject({
      code: 3002,
    });
    expect(await call(app, '/topup/cancel', { key: staging.apiKey, body: { reference } })).toMatchObject({
      code: 3001,
      transaction_id: pending.transaction_id,
    });
  });

  it('thresholds and caps count what their own environment spends', async () => {
    const { app } = gateway;
    const capped = { cents: 5_000n, capCents: 1_000n };
    const keys = {
      live: (await createCaller(gateway, { environment: 'live', ...capped })).apiKey,
      staging: (await createCaller(gateway, capped)).apiKey,
    };
    const body = { threshold_cents: 4_500 };
    await call(app, '/topup/threshold', { method: 'PUT', key: keys.staging, body });
    const lowBefore = await lowEvents();
    await send(app, keys.live, { recipient_email: 'same@example.org' });
    expect(await send(app, keys.live)).toMatchObject({ code: 2002, data: { reason: 'key_cap' } });
    expect((await call(app, '/topup/balance', { key: keys.live })).data).toMatchObject({
      low_balance_threshold_cents: null,
      key: { spent_cents: 1_000, remaining_cents: 0 },
    });
    expect((await call(app, '/topup/balance', { key: keys.staging })).data).toMatchObject({
      balance_cents: 5_000,
      low_balance_threshold_cents: 4_500,
      key: { spent_cents: 0, remaining_cents: 1_000 },
    });
    expect(await lowEvents()).toEqual(lowBefore);
    expect((await send(app, keys.staging, { recipient_email: 'same@example.org' })).code).toBe(1001);
    expect(await lowEvents()).toEqual([...lowBefore, 'test']);
  });

  it('the operator’s webhooks are told about the events of one environment', async () => {
    const { app, config } = gateway;
    // What the tests before did is over, so that it is nothing that these webhooks are told about.
    await untilAllAreTold();
    const headers = { authorization: `Bearer ${config.adminApiKey}` };
    const operator = { live: await startReceiver(), staging: await startReceiver() };
    const ids: string[] = [];
    for (const [receiver, environment] of [
      [operator.live, 'live'],
      [operator.staging, 'test'],
    ] as const) {
      const payload = { url: receiver.url, environment };
      const made = await app.inject({ method: 'POST', url: '/admin/v1/webhooks', headers, payload });
      ids.push(made.json<{ id: string }>().id);
    }
    const sent = {
      live: await send(app, live.apiKey, { amount_cents: 100 }),
      staging: await send(app, staging.apiKey, { amount_cents: 100 }),
    };
    await untilAllAreTold();
    for (const mine of ['live', 'staging'] as const) {
      const told = await events(operator[mine], 1);
      expect(told.map(each => [each.environment, each.transaction_id])).toEqual([
        [mine, sent[mine].transaction_id],
      ]);
    }
    for (const [n, environment] of ['live', 'test'].entries()) {
      const url = `/admin/v1/webhooks/deliveries?environment=${environment}`;
      const log = await app.inject({ url, headers });
      const { deliveries } = log.json<{ deliveries: { webhookId: string }[] }>();
      expect(deliveries.map(each => each.webhookId)).toEqual([ids[n]]);
      const foreign = `/admin/v1/webhooks/${ids[1 - n]}?environment=${environment}`;
      expect((await app.inject({ method: 'DELETE', url: foreign, headers })).statusCode).toBe(404);
    }
    await operator.live.close();
    await operator.staging.close();
  });
});

/** Until every event that there is has found its webhooks. */
async function untilAllAreTold(): Promise<void> {
  await vi.waitFor(async () => {
    const { rows } = await gateway.sql.query(
      'SELECT count(*)::int AS n FROM cell_0.outbox WHERE fanned_out_at IS NULL',
    );
    expect(rows).toEqual([{ n: 0 }]);
  }, 10_000);
}

/** The environments in which wallets ran low, in order. */
async function lowEvents(): Promise<string[]> {
  const { rows } = await gateway.sql.query<{ environment: string }>(
    `SELECT environment FROM cell_0.outbox WHERE type = 'balance.low' ORDER BY created_at`,
  );
  return rows.map(row => row.environment);
}

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
