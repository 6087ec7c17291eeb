import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { encodeFunctionData, erc20Abi } from 'viem';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { transferCallData } from '../../src/lib/eip3009.ts';
import { unavailable } from '../../src/lib/errors.ts';
import type { EvmClient } from '../../src/ports/evm-client.ts';
import { judge } from '../../src/topups/reconciliation.ts';
import { localChain, sendAsPayer } from '../support/chain.ts';
import { cliProgram } from '../support/cli.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import {
  BASE_USDC,
  createPayer,
  paymentHeader,
  type SignedPayment,
  signPayment,
} from '../support/payment.ts';

const run = promisify(execFile);
const NEVER_MS = 3_600_000;

/** Which calls of the node fail right now. */
let faults = { receipt: false, send: false };

function faulty(client: EvmClient): EvmClient {
  return {
    ...client,
    receipt: hash => (faults.receipt ? Promise.reject(unavailable('the Base node')) : client.receipt(hash)),
    sendRawTransaction: raw =>
      faults.send ? Promise.reject(unavailable('the Base node')) : client.sendRawTransaction(raw),
  };
}

let gateway: TestGateway;

beforeEach(async () => {
  faults = { receipt: false, send: false };
  // Nobody but the reconciliation that is tested works on what is left open.
  const seams = {
    evmClient: faulty,
    settleWaitMs: 500,
    reconcileEveryMs: NEVER_MS,
    maintainSenderEveryMs: NEVER_MS,
  };
  gateway = await startGateway({ seams });
});

afterEach(async () => {
  await gateway.stop();
});

async function pay(payment: SignedPayment): Promise<number> {
  const answer = await gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
  return answer.statusCode;
}

async function newPayment(): Promise<SignedPayment> {
  return signPayment(await createPayer(100n), gateway.payTo, 10_000_000n);
}

async function posted(): Promise<bigint> {
  const result = await gateway.sql.query<{ posted: string }>(
    'SELECT coalesce(sum(posted), 0) AS posted FROM cell_0.account',
  );
  return BigInt(result.rows[0]?.posted ?? 0);
}

/** A stranger's authorization to us and a plain transfer look the same to the receiver. */
async function sendStrayMoney(amount: bigint): Promise<string> {
  const payer = await createPayer(100n);
  const data = encodeFunctionData({ abi: erc20Abi, functionName: 'transfer', args: [gateway.payTo, amount] });
  return sendAsPayer(payer, BASE_USDC, data);
}

/** Puts blocks on top, so that what was mined before can not be undone any more. */
async function makeFinal(): Promise<void> {
  await localChain().mine({ blocks: 5 });
}

async function command(args: string[], env: Record<string, string> = {}) {
  const all = { PATH: process.env['PATH'], ...gateway.env, ...env };
  const result = await run(process.execPath, [cliProgram(), 'reconcile', ...args], {
    env: all,
  }).then(
    ({ stdout }) => ({ code: 0, stdout }),
    (error: { code: number; stdout: string }) => error,
  );
  return { code: result.code, output: result.stdout };
}

describe('reconciliation', () => {
  it('finds no gap after payments, also on the command line', async () => {
    for (let i = 0; i < 3; i += 1) expect(await pay(await newPayment())).toBe(200);
    const { code, output } = await command([]);
    expect([code, JSON.parse(output)]).toMatchObject([
      0,
      {
        verdict: 'in_order',
        settledNotCredited: [],
        creditedNotOnChain: [],
        pending: [],
        suspense: [],
        networks: [{ network: 'eip155:8453' }],
      },
    ]);
  });

  it('finishes what is open, and a dry run only lists it', async () => {
    const lost = await newPayment();
    faults.receipt = true;
    expect(await pay(lost)).toBe(504);
    faults = { receipt: false, send: true };
    const unsent = await newPayment();
    expect(await pay(unsent)).toBe(504);
    faults.send = false;

    const before = await gateway.services.reconcile({ dryRun: true });
    expect([judge(before), before.pending.length, before.settledNotCredited.length]).toEqual(['gap', 2, 1]);
    expect(await posted()).toBe(0n);

    const after = await gateway.services.reconcile();
    expect(after).toMatchObject({ pending: [], settledNotCredited: [], suspense: [] });
    expect([judge(after), await posted()]).toEqual(['in_order', 20_000_000_000n]);
  });

  it('credits money that arrived for a payment that was called failed', async () => {
    const payment = await newPayment();
    faults.send = true;
    expect(await pay(payment)).toBe(504);
    await gateway.sql.query("UPDATE cell_0.payment SET state = 'failed', reason = 'expired'");
    const { authorization, signature } = payment;
    const lower = {
      ...authorization,
      from: authorization.from.toLowerCase(),
      to: authorization.to.toLowerCase(),
    };
    await sendAsPayer(await createPayer(0n), BASE_USDC, transferCallData(lower, signature));

    const before = await gateway.services.reconcile({ dryRun: true });
    expect(before.settledNotCredited).toMatchObject([{ amountBaseUnits: 10_000_000n }]);
    const after = await gateway.services.reconcile();
    expect([judge(after), await posted()]).toEqual(['in_order', 10_000_000_000n]);
  });

  it('names credit that the chain does not show, again and again', async () => {
    expect(await pay(await newPayment())).toBe(200);
    const nowhere = `0x${'0'.repeat(64)}`;
    await gateway.sql.query('UPDATE cell_0.payment SET transaction = $1', [nowhere]);
    for (let round = 0; round < 2; round += 1) {
      const report = await gateway.services.reconcile();
      expect(report.creditedNotOnChain).toMatchObject([{ transaction: nowhere }]);
      expect(report.settledNotCredited).toHaveLength(1);
      await makeFinal();
    }
  });

  it('keeps money that came by no payment in suspense until a person closes it', async () => {
    expect(await pay(await newPayment())).toBe(200);
    const transaction = await sendStrayMoney(7_000_000n);
    const report = await gateway.services.reconcile({ dryRun: true });
    expect(report.suspense).toMatchObject([{ transaction, amountBaseUnits: 7_000_000n }]);
    expect((await command(['--dry-run'])).code).toBe(1);

    await makeFinal();
    for (let round = 0; round < 2; round += 1) {
      expect((await gateway.services.reconcile()).suspense).toMatchObject([{ transaction }]);
    }
    const cursor = await gateway.sql.query('SELECT scanned_to > 0 AS moved FROM directory.receipt_cursor');
    expect(cursor.rows).toEqual([{ moved: true }]);
    expect(await posted()).toBe(10_000_000_000n);

    const [found] = report.suspense;
    const name = ['eip155:8453', transaction, String(found?.logIndex)];
    expect((await command(['--close', ...name, '--reason', 'sent back'])).code).toBe(0);
    const again = {
      network: 'eip155:8453',
      transaction,
      logIndex: found?.logIndex ?? -1,
      reason: 'sent back',
    };
    expect(await gateway.services.closeReceipt(again)).toBe(false);
    expect(judge(await gateway.services.reconcile())).toBe('in_order');
  });

  it('cannot tell without the node or the database', async () => {
    expect(await pay(await newPayment())).toBe(200);
    const noNode = await command([], { BASE_RPC_URL: 'http://127.0.0.1:1' });
    expect([noNode.code, JSON.parse(noNode.output).verdict]).toEqual([2, 'unknown']);
    const noDatabase = await command([], { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing' });
    expect([noDatabase.code, noDatabase.output]).toEqual([2, '']);
    expect((await command(['--close', 'eip155:8453'])).code).toBe(2);
  });
});
