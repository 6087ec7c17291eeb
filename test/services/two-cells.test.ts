import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { PrivateKeyAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Customer, createCustomer, findWallet } from '../../src/customers/customers.ts';
import { migrate } from '../../src/db/migrate.ts';
import { cellName, DEFAULT_CELL } from '../../src/db/queryable.ts';
import { readBalance } from '../../src/ledger/balances.ts';
import { newId } from '../../src/lib/ids.ts';
import { cliProgram } from '../support/cli.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, signPayment } from '../support/payment.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';

const run = promisify(execFile);
const CELLS = [DEFAULT_CELL, cellName('cell_1')] as const;
const USD = 1_000_000n;
const NANO_USD = 1_000_000_000n;

let gateway: TestGateway;
let receiver: Receiver;

beforeAll(async () => {
  receiver = await startReceiver();
  gateway = await startGateway({
    settings: { CELLS: CELLS.join(','), DATA_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64') },
    seams: { allowLoopbackWebhooks: true },
  });
});

afterAll(async () => {
  await gateway?.stop();
  await receiver.close();
});

/** From here on new customers live in this cell. */
async function fillOnly(cell: string): Promise<void> {
  await gateway.sql.query('UPDATE directory.cell SET share = (cell = $1)::int', [cell]);
}

async function payAs(payer: PrivateKeyAccount, amount: bigint) {
  const header = paymentHeader(await signPayment(payer, gateway.payTo, amount));
  const headers = { 'payment-signature': header };
  const request = { method: 'POST', url: '/api/v1/x402/top-up', headers } as const;
  return [await gateway.app.inject(request), await gateway.app.inject(request)] as const;
}

async function customerOf(payer: PrivateKeyAccount): Promise<Customer> {
  const wallet = { environment: 'live', network: 'eip155:8453', address: payer.address } as const;
  const customer = await findWallet(gateway.sql, wallet);
  if (!customer) throw new Error('nobody paid');
  return customer;
}

async function command(cells: string, ...args: string[]) {
  const env = { PATH: process.env['PATH'], DATABASE_URL: gateway.config.databaseUrl, CELLS: cells };
  const result = await run(process.execPath, [cliProgram(), ...args], { env }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  );
  return { code: result.code, text: result.stdout + result.stderr };
}

describe('a gateway with two cells', () => {
  it.each(CELLS)('takes payments, spends and sweeps in %s', async cell => {
    await fillOnly(cell);
    const payer = await createPayer(100n);
    const [paid, again] = await payAs(payer, 10n * USD);
    expect([paid.statusCode, again.statusCode]).toEqual([200, 200]);
    expect(again.json()).toEqual(paid.json());
    const customer = await customerOf(payer);
    expect(customer.cell).toBe(cell);

    const { spending } = gateway.services;
    const spend = { id: newId(), amountNanoUsd: 3n * NANO_USD };
    expect((await spending.debit(customer, spend)).status).toBe('applied');
    expect((await spending.debit(customer, spend)).status).toBe('replayed');
    const hold = { id: newId(), amountNanoUsd: NANO_USD, lifetimeMs: 1 };
    expect((await spending.hold(customer, hold)).status).toBe('applied');
    const balance = () => readBalance(gateway.sql, cell, customer.accountId);
    await expect
      .poll(async () => (await balance())?.heldNanoUsd, { timeout: 20_000, interval: 100 })
      .toBe(0n);
    expect(await balance()).toMatchObject({ postedNanoUsd: 7n * NANO_USD });
    // Nothing of it is in the other cell.
    for (const other of CELLS.filter(each => each !== cell))
      expect(await readBalance(gateway.sql, other, customer.accountId)).toBeUndefined();

    const { rows } = await gateway.sql.query<{ id: string }>(
      `SELECT payment_id AS id FROM "${cell}".payment WHERE account_id = $1`,
      [customer.accountId],
    );
    const status = await gateway.app.inject({ method: 'GET', url: `/payments/${rows[0]?.id}` });
    expect(status.json()).toMatchObject({ state: 'credited' });
  });

  it('moves credit from one cell to the other: a top-up for somebody else, and its voucher', async () => {
    const { app, services } = gateway;
    await fillOnly(CELLS[0]);
    const sender = await services.createFundedKey({ dialect: 'aitopup', environment: 'test' });
    const redeemer = await createCustomer(gateway.sql, 'test');
    await fillOnly(CELLS[1]);
    const sent = await app.inject({
      method: 'POST',
      url: '/api/public/v1/topup/send',
      headers: { authorization: `Bearer ${sender.apiKey}` },
      payload: { platform: 'claude', amount_cents: 1_000, recipient_email: 'dana@example.org' },
    });
    const { data } = sent.json<{ data: { voucher_code: string } }>();
    const { rows } = await gateway.sql.query<{ cell: string; posted: string }>(
      `SELECT c.cell, a.posted FROM directory.customer_identity i JOIN directory.customer c USING (customer_id)
       JOIN "${CELLS[1]}".account a USING (account_id) WHERE i.kind = 'recipient'`,
    );
    expect(rows).toEqual([{ cell: CELLS[1], posted: `${10n * NANO_USD}` }]);
    const redeemed = await app.inject({
      method: 'POST',
      url: `/admin/v1/vouchers/${data.voucher_code}/redeem`,
      headers: { authorization: `Bearer ${gateway.config.adminApiKey}` },
      payload: { customerId: redeemer.customerId },
    });
    expect(redeemed.statusCode).toBe(200);
    const balance = await readBalance(gateway.sql, CELLS[0], redeemer.accountId);
    expect(balance?.postedNanoUsd).toBe(10n * NANO_USD);
  });

  it('spreads new customers over the cells by their shares', async () => {
    await gateway.sql.query('UPDATE directory.cell SET share = 1');
    const places: string[] = [];
    for (let i = 0; i < 60; i += 1) places.push((await createCustomer(gateway.sql, 'live')).cell);
    for (const cell of CELLS) expect(places.filter(place => place === cell).length).toBeGreaterThan(10);
    await gateway.sql.query('UPDATE directory.cell SET share = 0');
    await expect(createCustomer(gateway.sql, 'live')).rejects.toMatchObject({ code: '55000' });
    await gateway.sql.query('UPDATE directory.cell SET share = 1');
  });

  it('shows the operator the deliveries of both cells, newest first, page by page', async () => {
    const { webhooks } = gateway.services;
    const owner = { kind: 'operator', environment: 'live' } as const;
    const endpoint = { url: receiver.url, events: ['payment.credited'], verify: false };
    expect((await webhooks.register(owner, endpoint)).kind).toBe('registered');
    const cells: string[] = [];
    for (const cell of [CELLS[0], CELLS[1], CELLS[0]]) {
      await fillOnly(cell);
      const payer = await createPayer(100n);
      await payAs(payer, 5n * USD);
      cells.push((await customerOf(payer)).cell);
      await expect.poll(() => receiver.arrivals.length, { timeout: 20_000 }).toBe(cells.length);
    }
    expect(new Set(cells).size).toBe(2);
    const seen: string[] = [];
    let before: string | undefined;
    for (let page = 0; page < 3; page += 1) {
      const { deliveries, hasMore } = await webhooks.deliveries(owner, { limit: 1, before });
      expect([deliveries.length, hasMore]).toEqual([1, page < 2]);
      before = deliveries[0]?.id;
      seen.push(before ?? '');
    }
    const all = await webhooks.deliveries(owner, { limit: 10 });
    expect(all.deliveries.map(each => each.id)).toEqual(seen);
    for (const id of seen) expect((await webhooks.delivery(owner, id))?.id).toBe(id);
    expect((await webhooks.replay(owner, seen[1] ?? '')).kind).toBe('replayed');
    await expect.poll(() => receiver.arrivals.length, { timeout: 20_000 }).toBe(4);
  });
});

describe('the commands', () => {
  const both = CELLS.join(',');

  it('prove the books and the seals of both cells, and add the system accounts up', async () => {
    const books = await command(both, 'reconcile', '--ledger');
    expect([books.code, books.text]).toEqual([0, expect.stringContaining('"cells"')]);
    const report = JSON.parse(books.text) as {
      accounts: string;
      cells: { cell: string; accounts: string; breaks: unknown[] }[];
      systemAccounts: { environment: string; name: string; balanceUsd: string }[];
    };
    expect(report.cells.map(({ cell, breaks }) => [cell, breaks])).toEqual([
      [CELLS[0], []],
      [CELLS[1], []],
    ]);
    expect(Number(report.accounts)).toBe(
      report.cells.reduce((sum, { accounts }) => sum + Number(accounts), 0),
    );
    const live = Object.fromEntries(
      report.systemAccounts
        .filter(each => each.environment === 'live')
        .map(each => [each.name, each.balanceUsd]),
    );
    // Two payments of 10 and three of 5 came in; 3 were spent in each cell.
    expect(live).toEqual({ revenue: '6', 'receipts eip155:8453': '-35' });
    const seals = await command(both, 'ledger', 'verify');
    expect([seals.code, JSON.parse(seals.text)]).toEqual([
      0,
      { cells: CELLS.map(cell => expect.objectContaining({ cell, breaks: [] })) },
    ]);
  });

  it('name the cell that is wrong', async () => {
    const client = await gateway.sql.connect();
    await client.query("SET session_replication_role = 'replica'");
    await client.query(`UPDATE "${CELLS[1]}".transfer SET amount = amount + 1 WHERE seq = 1`);
    await client.query("SET session_replication_role = 'origin'");
    client.release();
    for (const args of [
      ['reconcile', '--ledger'],
      ['ledger', 'verify'],
    ]) {
      const { code, text } = await command(both, ...args);
      const { cells } = JSON.parse(text) as { cells: { cell: string; breaks: unknown[] }[] };
      expect([code, cells.map(({ breaks }) => breaks.length > 0)]).toEqual([1, [false, true]]);
    }
  });

  it('refuse to forget a cell, and to use one that was never made', async () => {
    for (const args of [['migrate'], ['ledger', 'verify']]) {
      const { code, text } = await command('cell_0', ...args);
      expect([code, text]).toEqual([2, expect.stringContaining('CELLS: cell_1 belongs to this database')]);
    }
    const more = `${both},cell_2`;
    const check = await command(more, 'migrate', '--check');
    expect([check.code, check.text]).toEqual([
      1,
      expect.stringContaining('missing cell_2/0001_ledger_tables'),
    ]);
    const verify = await command(more, 'ledger', 'verify');
    expect([verify.code, verify.text]).toEqual([2, expect.stringContaining('has not run in schema cell_2')]);
  });

  it('make a further cell, which takes customers once a process looks after it', async () => {
    const more = [...CELLS, cellName('cell_2')];
    const made = await command(more.join(','), 'migrate');
    expect([made.code, made.text]).toEqual([0, expect.stringContaining('ran cell_2/0001_ledger_tables')]);
    const shares = async () => {
      const { rows } = await gateway.sql.query('SELECT cell, share FROM directory.cell ORDER BY cell');
      return rows;
    };
    await fillOnly(CELLS[0]);
    await gateway.sql.query("UPDATE directory.cell SET share = NULL WHERE cell = 'cell_2'");
    expect((await createCustomer(gateway.sql, 'live')).cell).toBe(CELLS[0]);
    const next = await startGateway({ replicaOf: gateway, settings: { CELLS: more.join(',') } });
    try {
      expect(await shares()).toEqual([
        { cell: 'cell_0', share: 1 },
        { cell: 'cell_1', share: 0 },
        { cell: 'cell_2', share: 1 },
      ]);
      await fillOnly('cell_2');
      const payer = await createPayer(100n);
      // Also by the process that was started before there was such a cell.
      expect((await payAs(payer, 10n * USD))[0].statusCode).toBe(200);
      expect((await customerOf(payer)).cell).toBe('cell_2');
    } finally {
      await next.stop();
    }
    expect(await migrate({ databaseUrl: gateway.config.databaseUrl, cells: more })).toEqual([]);
  });
});
