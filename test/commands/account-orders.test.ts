import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { PrivateKeyAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Customer, findWallet } from '../../src/customers/customers.ts';
import { DEFAULT_CELL } from '../../src/db/queryable.ts';
import { reconcileLedger } from '../../src/ledger/reconcile.ts';
import { sealNew } from '../../src/ledger/seals.ts';
import { newId } from '../../src/lib/ids.ts';
import { cliProgram } from '../support/cli.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, signPayment } from '../support/payment.ts';

const run = promisify(execFile);
const SIGNED = ['--actor', 'alice', '--reason', 'ticket 7'];
const NANO_USD = 1_000_000_000n;

let gateway: TestGateway;
let payer: PrivateKeyAccount;
let customer: Customer;

beforeAll(async () => {
  gateway = await startGateway();
  payer = await createPayer(100n);
  const payment = paymentHeader(await signPayment(payer, gateway.payTo, 20_000_000n));
  const headers = { 'payment-signature': payment };
  const paid = await gateway.app.inject({ method: 'POST', url: '/api/v1/x402/top-up', headers });
  expect(paid.statusCode).toBe(200);
  const wallet = { environment: 'live', network: 'eip155:8453', address: payer.address } as const;
  const found = await findWallet(gateway.sql, wallet);
  if (!found) throw new Error('nobody paid');
  customer = found;
});

afterAll(() => gateway.stop());

// What each says is checked where it is used.
// oxlint-disable-next-line typescript/no-explicit-any
async function command(...args: string[]): Promise<{ code: number; output: any; said: string }> {
  const env = { PATH: process.env['PATH'], DATABASE_URL: gateway.config.databaseUrl };
  const { code, stdout, stderr } = await run(process.execPath, [cliProgram(), ...args], {
    env,
  }).then(
    result => ({ code: 0, ...result }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  );
  return { code, output: stdout.startsWith('{') ? JSON.parse(stdout) : stdout, said: stderr };
}

const debit = async (usd: bigint, id = newId()) => ({
  id,
  status: (await gateway.services.spending.debit(customer, { id, amountNanoUsd: usd * NANO_USD })).status,
});

describe('an operator', { timeout: 240_000 }, () => {
  it('freezes an account by its wallet and thaws it by its number', async () => {
    const frozen = await command('accounts', 'freeze', `eip155:8453:${payer.address}`, ...SIGNED);
    expect(frozen).toMatchObject({
      code: 0,
      output: { outcome: 'applied', customerId: customer.customerId, availableUsd: '20' },
    });
    expect((await debit(1n)).status).toBe('frozen');
    const thaw = ['accounts', 'unfreeze', `${customer.accountId}`, ...SIGNED, '--id', newId()];
    expect((await command(...thaw)).output.outcome).toBe('applied');
    expect((await command(...thaw)).output.outcome).toBe('replayed');
    expect((await debit(1n)).status).toBe('applied');
    const { rows } = await gateway.sql.query(
      'SELECT action, reason, actor FROM cell_0.operator_action ORDER BY created_at',
    );
    const by = { reason: 'ticket 7', actor: 'alice' };
    expect(rows).toEqual([
      { action: 'freeze', ...by },
      { action: 'unfreeze', ...by },
    ]);
  });

  it('adjusts, refunds, voids and lends, each once, and sees what is there', async () => {
    const account = customer.customerId;
    const spent = await debit(4n);
    const refund = ['accounts', 'refund', account, spent.id, '3', ...SIGNED];
    expect((await command(...refund)).output).toMatchObject({ outcome: 'applied', postedUsd: '18' });
    const tooMuch = await command(...refund);
    expect(tooMuch).toMatchObject({ code: 1, output: { outcome: 'exceeds_original' } });
    const given = await command(
      'accounts',
      'adjust',
      account,
      'give',
      '2.5',
      '--against',
      'granted',
      ...SIGNED,
    );
    expect(given.output).toMatchObject({ outcome: 'applied', postedUsd: '20.5' });
    const shown = (await command('accounts', 'show', account)).output;
    expect(shown).toMatchObject({ frozen: false, postedUsd: '20.5', heldUsd: '0', creditLineUsd: '0' });
    expect(shown.transfers[0]).toMatchObject({ code: 'adjustment', against: 'granted', amountUsd: '2.5' });
    const grant = shown.grants.find((each: { source: string }) => each.source === 'adjustment');
    const voided = await command('accounts', 'void-grant', account, grant.id, ...SIGNED);
    expect(voided.output).toMatchObject({ outcome: 'applied', postedUsd: '18' });
    const line = await command('accounts', 'credit-line', account, '5', ...SIGNED);
    expect(line.output).toMatchObject({ outcome: 'applied', availableUsd: '23' });
    const taken = await command('accounts', 'adjust', account, 'take', '24', ...SIGNED);
    expect(taken).toMatchObject({ code: 1, output: { outcome: 'insufficient' } });
    expect((await reconcileLedger(gateway.sql, DEFAULT_CELL)).breaks).toEqual([]);
  });

  it('is told of accounts that nobody has, and of calls that are wrong', async () => {
    const nobody = await command('accounts', 'freeze', '999999', ...SIGNED);
    expect(nobody).toMatchObject({ code: 1, output: { outcome: 'unknown' } });
    const unsigned = await command('accounts', 'freeze', `${customer.accountId}`);
    expect([unsigned.code, unsigned.said]).toEqual([2, expect.stringContaining('usage:')]);
    expect((await command('ledger', 'detach', '2026-13')).code).toBe(2);
  });

  it('detaches the oldest month once it may leave, and is told why not before', async () => {
    const { rows } = await gateway.sql.query<{ oldest: string; ago: string }>(
      `SELECT to_char(cell_0.id_time(id_from) AT TIME ZONE 'UTC', 'YYYY-MM') AS oldest,
         to_char((cell_0.id_time(id_from) - interval '1 year') AT TIME ZONE 'UTC', 'YYYY-MM') AS ago
       FROM cell_0.transfer_window`,
    );
    const [{ oldest, ago } = { oldest: '', ago: '' }] = rows;
    const early = await command('ledger', 'detach', oldest);
    expect(early).toMatchObject({
      code: 1,
      output: { month: oldest, cells: [{ cell: DEFAULT_CELL, outcome: 'too recent' }] },
    });
    const gone = await command('ledger', 'detach', ago);
    expect(gone).toMatchObject({ code: 1, output: { cells: [{ outcome: 'not attached' }] } });
    // A log that begins two months earlier, as one that has grown.
    const old = await startOlderLog(oldest);
    await sealNew(gateway.sql, DEFAULT_CELL);
    const left = await command('ledger', 'detach', old);
    expect(left).toMatchObject({ code: 0, output: { cells: [{ outcome: 'detached' }] } });
    expect((await command('ledger', 'detach', old)).output.cells[0].outcome).toBe('not attached');
    expect((await command('ledger', 'verify')).code).toBe(0);
  });
});

/** Gives the log a month before its first one. @returns that month */
async function startOlderLog(oldest: string): Promise<string> {
  const from = new Date(`${oldest}-01T00:00:00Z`);
  from.setUTCMonth(from.getUTCMonth() - 1);
  const month = from.toISOString().slice(0, 7);
  const part = `cell_0.transfer_${month.replace('-', '_')}`;
  await gateway.sql.query(
    `CREATE TABLE ${part} (LIKE cell_0.transfer INCLUDING CONSTRAINTS);
     ALTER TABLE cell_0.transfer ATTACH PARTITION ${part}
       FOR VALUES FROM ('${await firstId(from)}') TO ('${await firstId(new Date(`${oldest}-01T00:00:00Z`))}');
     UPDATE cell_0.transfer_window SET id_from = '${await firstId(from)}'`,
  );
  return month;
}

async function firstId(at: Date): Promise<string> {
  const { rows } = await gateway.sql.query<{ id: string }>('SELECT cell_0.id_at($1) AS id', [at]);
  return rows[0]?.id ?? '';
}
