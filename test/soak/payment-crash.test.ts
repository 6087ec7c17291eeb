import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { usdcTransfersTo } from '../support/chain.ts';
import { prepareGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, signPayment } from '../support/payment.ts';

const GATEWAY = path.join(inject('programs'), 'crash-gateway.mjs');

let prepared: Awaited<ReturnType<typeof prepareGateway>>;
let sql: Pool;

beforeAll(async () => {
  prepared = await prepareGateway();
  sql = new Pool({ connectionString: prepared.database.databaseUrl, max: 2 });
});

afterAll(async () => {
  await sql.end();
  await prepared.database.drop();
});

async function startProcess(crashAt: string): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(process.execPath, [GATEWAY], {
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

describe('a gateway that is killed with SIGKILL', () => {
  it.each([
    ['before it signs', 'before-sign'],
    ['between signing and sending', 'before-send'],
    ['between sending and looking', 'after-send'],
    ['between the proof and the credit', 'before-credit'],
  ])('%s finishes the payment at its next start, once', async (_name, crashAt) => {
    const payer = await createPayer(100n);
    const payTo = prepared.env['EVM_PAY_TO'] as `0x${string}`;
    const header = paymentHeader(await signPayment(payer, payTo, 10_000_000n));

    const first = await startProcess(crashAt);
    const killed = once(first.child, 'exit');
    await expect(pay(first.port, header)).rejects.toThrow();
    expect((await killed)[1]).toBe('SIGKILL');
    const open = await sql.query("SELECT count(*)::int AS n FROM cell_0.payment WHERE state = 'settling'");
    expect(open.rows[0].n).toBe(1);

    const second = await startProcess('');
    const wallet = `eip155:8453:${payer.address.toLowerCase()}`;
    const posted = async () => {
      const result = await sql.query(
        `SELECT a.posted, (SELECT count(*)::int FROM cell_0.transfer t WHERE t.account_id = a.account_id) AS transfers
         FROM directory.customer_identity i JOIN directory.customer c USING (customer_id)
         JOIN cell_0.account a ON a.account_id = c.account_id WHERE i.value = $1`,
        [wallet],
      );
      return result.rows[0];
    };
    await expect.poll(posted, { timeout: 15_000 }).toEqual({ posted: '10000000000', transfers: 1 });
    const again = await pay(second.port, header);
    expect(again.status).toBe(200);
    expect(await again.json()).toMatchObject({ data: { amountCredited: 10, newBalance: 10 } });
    const transfers = (await usdcTransfersTo(payTo)).filter(t => t.from === payer.address.toLowerCase());
    expect(transfers).toHaveLength(1);
    await stopProcess(second.child);
  });
});

describe('a gateway that is told to stop', () => {
  it('finishes the payment under way, answers it, and ends cleanly', async () => {
    const payer = await createPayer(100n);
    const payTo = prepared.env['EVM_PAY_TO'] as `0x${string}`;
    const { child, port } = await startProcess('never-but-slow');
    const answer = pay(port, paymentHeader(await signPayment(payer, payTo, 10_000_000n)));
    const settling = async () => {
      const rows = await sql.query("SELECT count(*)::int AS n FROM cell_0.payment WHERE state = 'settling'");
      return rows.rows[0].n;
    };
    await expect.poll(settling, { timeout: 5_000 }).toBe(1);
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    expect((await answer).status).toBe(200);
    expect(await exited).toEqual([0, null]);
    expect(await settling()).toBe(0);
  });
});
