import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { Pool } from 'pg';
import { describe, expect, it } from 'vitest';
import { localChain, usdcTransfersTo } from '../support/chain.ts';
import { startFacilitator } from '../support/facilitator.ts';
import { FACILITATOR_FAULTS } from '../support/facilitator-faults.ts';
import { makeSchedule } from '../support/fault-schedule.ts';
import { startFaultWorld } from '../support/fault-world.ts';
import { prepareGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, signPayment } from '../support/payment.ts';

const GATEWAY = path.resolve(import.meta.dirname, '../support/crash-gateway.ts');

const SCHEDULES = 100;
/** Each holds two gateways with their pools, and the database server takes 100 connections. */
const WORLDS = 2;

/** `FAULT_SEED=<seed>` plays the schedules from there on again. */
const FIRST_SEED = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

describe('random faults of facilitators and nodes', () => {
  it(`leave no gap in ${SCHEDULES} schedules from seed ${FIRST_SEED}`, async () => {
    console.log(`fault schedules start at seed ${FIRST_SEED}`);
    const found = await Promise.all(
      Array.from({ length: WORLDS }, async (_, index) => {
        const world = await startFaultWorld();
        for (let step = index; step < SCHEDULES; step += WORLDS)
          await world.play(makeSchedule(FIRST_SEED + step));
        const problems = await world.settleUp();
        await world.stop();
        return problems;
      }),
    );
    expect(found.flat(), `seed ${FIRST_SEED}`).toEqual([]);
  });
});

const CRASHES = ['before-sign', 'during-settle', 'after-send', 'before-credit'] as const;

describe('a gateway that is killed with SIGKILL while its facilitator has a fault', () => {
  // Several at once: most of the time they wait for an authorization to end.
  it.concurrent.each(FACILITATOR_FAULTS.flatMap(fault => CRASHES.map(crashAt => ({ fault, crashAt }))))(
    '$fault, killed $crashAt: the money is credited once or provably not taken',
    async ({ fault, crashAt }) => {
      const facilitator = await startFacilitator();
      const prepared = await prepareGateway({ FACILITATORS: facilitator.url, EVM_PRIVATE_KEY: '' });
      const sql = new Pool({ connectionString: prepared.database.databaseUrl, max: 1 });
      const payer = await createPayer(100n);
      const payTo = prepared.env['EVM_PAY_TO'] as `0x${string}`;
      const validBefore = BigInt(Math.floor(Date.now() / 1000) + 30);
      const payment = await signPayment(payer, payTo, 5_000_000n, { validBefore });
      await facilitator.plan(payment.authorization.nonce, fault);

      const first = await startProcess(prepared.env, crashAt);
      const killed = once(first.child, 'exit');
      await pay(first.port, paymentHeader(payment)).catch(() => undefined);
      if (first.child.exitCode === null) first.child.kill('SIGKILL');
      await killed;
      await facilitator.open();

      const second = await startProcess(prepared.env, '');
      const state = async () => {
        await localChain().mine({ blocks: 4 });
        await sql.query("UPDATE cell_0.payment SET due_at = now() WHERE state IN ('settling', 'pending')");
        const { rows } = await sql.query('SELECT state FROM cell_0.payment');
        return rows[0]?.state;
      };
      await expect.poll(state, { timeout: 90_000, interval: 1_000 }).toMatch(/^(credited|failed)$/);
      const moved = (await usdcTransfersTo(payTo)).length;
      const { rows } = await sql.query('SELECT count(*)::int AS credits FROM cell_0.transfer');
      expect([moved, rows[0].credits]).toEqual((await state()) === 'credited' ? [1, 1] : [0, 0]);
      const stopped = once(second.child, 'exit');
      second.child.kill('SIGTERM');
      await stopped;
      await sql.end();
      await prepared.database.drop();
      await facilitator.stop();
    },
  );
});

async function startProcess(
  env: Record<string, string>,
  crashAt: string,
): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(process.execPath, ['--import', 'tsx', GATEWAY], {
    env: { PATH: process.env['PATH'], ...env, CRASH_AT: crashAt },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return { child, port: (JSON.parse(line) as { port: number }).port };
}

function pay(port: number, header: string) {
  return fetch(`http://127.0.0.1:${port}/api/v1/x402/top-up`, {
    method: 'POST',
    headers: { 'payment-signature': header },
  });
}
