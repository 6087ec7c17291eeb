import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_CELL } from '../../src/db/queryable.ts';
import { sealWindow } from '../../src/ledger/seals.ts';
import { cliProgram } from '../support/cli.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, signPayment } from '../support/payment.ts';

const run = promisify(execFile);

let gateway: TestGateway;
let admin: Pool;

beforeAll(async () => {
  gateway = await startGateway();
  admin = new Pool({ connectionString: gateway.config.databaseUrl, max: 1 });
  // Dropping the database ends connections that are still open; nobody is left to care.
  admin.on('error', () => undefined);
  const payer = await createPayer(100n);
  for (const amount of [10_000_000n, 20_000_000n]) {
    await gateway.app.inject({
      method: 'POST',
      url: '/api/v1/x402/top-up',
      headers: { 'payment-signature': paymentHeader(await signPayment(payer, gateway.payTo, amount)) },
    });
  }
  await sealWindow(admin, DEFAULT_CELL);
});

afterAll(async () => {
  await admin.end();
  await gateway.stop();
});

async function command(
  ...args: string[]
): Promise<{ code: number; output: Record<string, unknown> | string }> {
  const env = { PATH: process.env['PATH'], DATABASE_URL: gateway.config.databaseUrl };
  const result = await run(process.execPath, [cliProgram(), ...args], { env }).then(
    ({ stdout }) => ({ code: 0, stdout }),
    (error: { code: number; stdout: string }) => error,
  );
  const text = result.stdout.trim();
  return {
    code: result.code,
    output: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : text,
  };
}

describe('the books from the command line', () => {
  it('are in order after payments', async () => {
    expect(await command('reconcile', '--ledger')).toEqual({
      code: 0,
      output: {
        accounts: '1',
        systemAccounts: [
          { environment: 'live', contra: 100, name: 'receipts eip155:8453', balanceUsd: '-30' },
        ],
        cells: [{ cell: DEFAULT_CELL, accounts: '1', breaks: [] }],
      },
    });
    expect(await command('ledger', 'verify')).toMatchObject({
      code: 0,
      output: { cells: [{ cell: DEFAULT_CELL, blocks: '1', breaks: [] }] },
    });
  });

  it('show a row that was changed behind the ledger’s back, by both proofs', async () => {
    await admin.query(`SET session_replication_role = replica`);
    await admin.query(`UPDATE ${DEFAULT_CELL}.transfer SET amount = amount + 1 WHERE seq = 1`);
    const books = await command('reconcile', '--ledger');
    expect([books.code, JSON.stringify(books.output)]).toEqual([1, expect.stringContaining('account')]);
    const seals = await command('ledger', 'verify');
    expect(seals.code).toBe(1);
    expect(seals.output).toMatchObject({ cells: [{ breaks: [expect.anything()] }] });
  });

  it('say how they are called', async () => {
    expect((await command('reconcile')).code).toBe(2);
    expect((await command('ledger')).code).toBe(2);
    expect((await command('nonsense')).code).toBe(2);
    expect(await command('migrate', '--check')).toEqual({ code: 0, output: 'up to date' });
  });
});
