import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildApp } from '../../../src/app.ts';
import { DEFAULT_CELL } from '../../../src/db/queryable.ts';
import { createLog } from '../../../src/http/log.ts';
import { CONTRA } from '../../../src/ledger/chart.ts';
import { addGrant } from '../../../src/ledger/grants.ts';
import { reconcileLedger } from '../../../src/ledger/reconcile.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { newId } from '../../../src/lib/ids.ts';
import type { TestGateway } from '../../support/gateway.ts';
import { call, createCaller, send, startAitopupGateway } from './aitopup-gateway.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startAitopupGateway();
});

afterAll(async () => {
  expect((await reconcileLedger(gateway.sql, DEFAULT_CELL)).breaks).toEqual([]);
  await gateway?.stop();
});

/** The grants of a customer or of a recipient's wallet in the order in which they came: source and cents. */
async function grantsOf({ sql }: TestGateway, name: string): Promise<[string, number][]> {
  const { rows } = await sql.query<{ source: string; cents: number }>(
    `SELECT g.source, (g.amount / 10000000)::int AS cents FROM cell_0.credit_grant g
     JOIN cell_0.transfer t USING (account_id, id) JOIN directory.customer c USING (account_id)
     LEFT JOIN directory.customer_identity i USING (customer_id)
     WHERE i.value = $1 OR c.customer_id::text = $1 ORDER BY t.seq`,
    [name],
  );
  return rows.map(({ source, cents }) => [source, cents]);
}

describe('a voucher', () => {
  const redeem = (code: unknown, customerId: string) =>
    gateway.app.inject({
      method: 'POST',
      url: `/admin/v1/vouchers/${String(code)}/redeem`,
      headers: { authorization: `Bearer ${gateway.config.adminApiKey}` },
      payload: { customerId },
    });

  it('is redeemed once, for credit of a customer of any dialect', async () => {
    const { apiKey } = await createCaller(gateway, { environment: 'live', cents: 5_000n });
    const buyer = await gateway.services.createFundedKey({ dialect: 'dria', environment: 'live' });
    const { data } = await send(gateway.app, apiKey, { amount_cents: 2_500 });
    const code = data['voucher_code'];
    const answers = await Promise.all([1, 2, 3].map(() => redeem(code, buyer.customerId)));
    expect(answers.map(each => each.statusCode).toSorted((a, b) => a - b)).toEqual([200, 409, 409]);
    expect(answers.find(each => each.statusCode === 200)?.json()).toEqual({
      amountUsd: '25',
      availableUsd: '25',
      customerId: buyer.customerId,
      environment: 'live',
    });
    const shown = await gateway.app.inject({
      url: '/v1/credits/balance',
      headers: { authorization: `Bearer ${buyer.apiKey}` },
    });
    expect(shown.json()).toMatchObject({ balance: 2_500 });
    expect((await redeem(code, 'c0000000-0000-7000-8000-000000000000')).statusCode).toBe(404);
    expect((await redeem('ATU-2222-2222-2222', buyer.customerId)).statusCode).toBe(404);
    expect((await redeem('nonsense', buyer.customerId)).statusCode).toBe(404);
  });

  it('of staging is worth nothing in live', async () => {
    const { apiKey } = await createCaller(gateway);
    const live = await gateway.services.createFundedKey({ dialect: 'dria', environment: 'live' });
    const { data } = await send(gateway.app, apiKey);
    const answer = await redeem(data['voucher_code'], live.customerId);
    expect(answer.statusCode).toBe(409);
    expect(answer.json()).toMatchObject({ error: 'conflict' });
  });

  it('is promotional credit as far as it was sent from such, whatever is redeemed first', async () => {
    const { apiKey, customerId } = await createCaller(gateway, { cents: 600n });
    const { rows } = await gateway.sql.query<{ account_id: string }>(
      'SELECT account_id FROM directory.customer WHERE customer_id = $1',
      [customerId],
    );
    await addGrant(gateway.sql, DEFAULT_CELL, {
      accountId: BigInt(rows[0]?.account_id ?? 0),
      id: newId(),
      amountNanoUsd: 20_000_000_000n,
      source: 'paid',
      contra: CONTRA.granted,
    });
    const to = { recipient_email: 'sources@example.org' };
    // Promotional credit goes first: 500 of it, then the last 100 with 400 that were paid for, then those alone.
    const codes = [];
    for (const cents of [500, 500, 300]) {
      codes.push((await send(gateway.app, apiKey, { ...to, amount_cents: cents })).data['voucher_code']);
    }
    expect(await grantsOf(gateway, 'claude:sources@example.org')).toEqual([
      ['promotional', 500],
      ['promotional', 100],
      ['paid', 400],
      ['paid', 300],
    ]);
    const redeemed = [];
    for (const code of codes.toReversed()) {
      const buyer = await gateway.services.createFundedKey({ dialect: 'dria', environment: 'test' });
      expect((await redeem(code, buyer.customerId)).statusCode).toBe(200);
      redeemed.push(await grantsOf(gateway, buyer.customerId));
    }
    expect(redeemed).toEqual([
      [['paid', 300]],
      [
        ['promotional', 100],
        ['paid', 400],
      ],
      [['promotional', 500]],
    ]);
  });

  it('is not redeemed into a recipient’s wallet, and stays good', async () => {
    const { apiKey } = await createCaller(gateway);
    const { data } = await send(gateway.app, apiKey, { recipient_email: 'wallet@example.org' });
    const { rows } = await gateway.sql.query<{ customer_id: string }>(
      `SELECT customer_id FROM directory.customer_identity WHERE value = 'claude:wallet@example.org'`,
    );
    const refused = await redeem(data['voucher_code'], rows[0]?.customer_id ?? '');
    expect([refused.statusCode, refused.json()]).toMatchObject([409, { error: 'conflict' }]);
    const buyer = await gateway.services.createFundedKey({ dialect: 'dria', environment: 'test' });
    const answer = await redeem(data['voucher_code'], buyer.customerId);
    expect(answer.json()).toMatchObject({ amountUsd: '10', availableUsd: '10' });
  });

  it('is nowhere in the database as it is, when there is a key', async () => {
    const sealed = await startAitopupGateway({
      replicaOf: gateway,
      settings: { DATA_ENCRYPTION_KEY: Buffer.alloc(32, 3).toString('base64') },
    });
    const { apiKey } = await createCaller(sealed);
    const name = { 'idempotency-key': 'sealed' };
    const first = await send(sealed.app, apiKey, {}, name);
    const { transaction_id: id, data } = first;
    const { rows } = await sealed.sql.query<{ name: string }>(
      `SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
       WHERE table_schema IN ('cell_0', 'directory') AND table_type = 'BASE TABLE'`,
    );
    expect(rows.map(row => row.name)).toContain('cell_0.topup_call');
    for (const table of rows) {
      const found = await sealed.sql.query(`SELECT FROM ${table.name} t WHERE strpos(t::text, $1) > 0`, [
        data['voucher_code'],
      ]);
      expect([table.name, found.rows.length]).toEqual([table.name, 0]);
    }
    const again = await send(sealed.app, apiKey, {}, name);
    expect([again.text, again.headers['idempotent-replayed']]).toEqual([first.text, 'true']);
    const shown = await call(sealed.app, `/topup/status/${id}`, { key: apiKey });
    expect(shown.data['voucher_code']).toBe(data['voucher_code']);
    await sealed.stop();
  });

  it('is in no line of the log, whatever is asked about it', async () => {
    const { config, services } = gateway;
    const lines: string[] = [];
    const log = createLog('trace', { write: line => void lines.push(line) });
    const app = await buildApp({ config, services, log, clock: systemClock });
    const { apiKey, customerId } = await createCaller(gateway);
    const { data } = await send(app, apiKey);
    const url = `/admin/v1/vouchers/${String(data['voucher_code'])}/redeem`;
    const headers = { authorization: `Bearer ${config.adminApiKey}` };
    for (const method of ['GET', 'POST', 'DELETE'] as const) {
      await app.inject({ method, url, headers, ...(method === 'POST' && { payload: { customerId } }) });
      await app.inject({ method, url });
      await app.inject({ method, url: `${url}/more`, headers });
    }
    await app.close();
    expect(lines.length).toBeGreaterThan(18);
    expect(lines.join('')).not.toContain(data['voucher_code']);
  });
});
