import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import type { LocalSolana } from '../../src/local/solana-chain.ts';
import { prepareGateway } from '../support/gateway.ts';
import {
  fundedSolanaWallet,
  SOLANA_MAINNET,
  signSolanaPayment,
  solanaRequirements,
  solanaUsdcBalance,
  startTestSolana,
} from '../support/solana.ts';
import { solanaSettings } from '../support/solana-gateway.ts';

const GATEWAY = path.resolve(import.meta.dirname, '../support/crash-gateway.ts');

let chain: LocalSolana;
let accounts: { svmPayTo: string; feePayer: string };
let prepared: Awaited<ReturnType<typeof prepareGateway>>;
let sql: Pool;

beforeAll(async () => {
  // As slow as the real chain, so that a payment outlives the start of two processes.
  chain = await startTestSolana({ slotMs: 400 });
  const { settings, ...rest } = await solanaSettings(chain);
  accounts = rest;
  prepared = await prepareGateway({ ...settings, NETWORKS: SOLANA_MAINNET });
  sql = new Pool({ connectionString: prepared.database.databaseUrl, max: 2 });
});

afterAll(async () => {
  await sql.end();
  await prepared.database.drop();
  await chain.stop();
});

async function startProcess(crashAt: string): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(process.execPath, ['--import', 'tsx', GATEWAY], {
    env: { PATH: process.env['PATH'], ...prepared.env, CRASH_AT: crashAt },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return { child, port: (JSON.parse(line) as { port: number }).port };
}

async function stopProcess(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}

function pay(port: number, header: string) {
  return fetch(`http://127.0.0.1:${port}/api/v1/x402/top-up`, {
    method: 'POST',
    headers: { 'payment-signature': header },
  });
}

describe('a gateway that is killed with SIGKILL during a payment on Solana', () => {
  it.each([
    ['before it signs', 'before-sign'],
    ['between signing and sending', 'before-send'],
    ['between sending and looking', 'after-send'],
    ['between the proof and the credit', 'before-credit'],
  ])('%s finishes the payment at its next start, once', async (_name, crashAt) => {
    const payer = await fundedSolanaWallet(chain, 100_000_000n);
    const first = await startProcess(crashAt);
    const requirements = solanaRequirements({
      payTo: accounts.svmPayTo,
      feePayer: accounts.feePayer,
      amountBaseUnits: 10_000_000n,
      memo: crashAt,
    });
    const header = encodeBase64Json(await signSolanaPayment(chain, payer, requirements));
    const killed = once(first.child, 'exit');
    await expect(pay(first.port, header)).rejects.toThrow();
    expect((await killed)[1]).toBe('SIGKILL');
    const open = await sql.query("SELECT count(*)::int AS n FROM cell_0.payment WHERE state = 'settling'");
    expect(open.rows[0].n).toBe(1);

    const second = await startProcess('');
    const credit = async () => {
      const result = await sql.query(
        `SELECT a.posted, (SELECT count(*)::int FROM cell_0.transfer t WHERE t.account_id = a.account_id) AS transfers
         FROM directory.customer_identity i JOIN directory.customer c USING (customer_id)
         JOIN cell_0.account a ON a.account_id = c.account_id WHERE i.value = $1`,
        [`${SOLANA_MAINNET}:${payer.address}`],
      );
      return result.rows[0];
    };
    await expect.poll(credit, { timeout: 12_000 }).toEqual({ posted: '10000000000', transfers: 1 });
    const again = await pay(second.port, header);
    expect(again.status).toBe(200);
    expect(await again.json()).toMatchObject({ data: { amountCredited: 10, newBalance: 10 } });
    expect(await solanaUsdcBalance(chain, payer.address)).toBe(90_000_000n);
    await stopProcess(second.child);
  });
});
