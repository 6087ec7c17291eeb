import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { prepareGateway, startGateway, type TestGateway } from '../../support/gateway.ts';
import { createPayer, paymentHeader } from '../../support/payment.ts';
import {
  acceptedOffer,
  call,
  ledgerBreaks,
  type MobulaGateway,
  movableClock,
  pay,
  sign,
  status,
  subscribe,
} from './mobula-gateway.ts';

const GATEWAY = path.join(inject('programs'), 'crash-gateway.mjs');
const SUBSCRIBE = '/subscribe?plan=startup&payment_frequency=monthly';

describe('a gateway that is killed with SIGKILL', () => {
  let prepared: Awaited<ReturnType<typeof prepareGateway>>;

  beforeAll(async () => {
    prepared = await prepareGateway();
  });
  afterAll(async () => {
    await prepared?.database.drop();
  });

  async function startProcess(crashAt: string): Promise<{ child: ChildProcess; port: number }> {
    const child = spawn(process.execPath, [GATEWAY], {
      env: { PATH: process.env['PATH'], ...prepared.env, CRASH_AT: crashAt },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
    return { child, port: (JSON.parse(line) as { port: number }).port };
  }

  it('between the proof and the credit applies the purchase at its next start, once', async () => {
    const payer = await createPayer();
    const clock = { nowMs: () => Date.now() };
    const first = await startProcess('before-credit');
    const target = { clock, payTo: prepared.env['EVM_PAY_TO'] as `0x${string}` } as MobulaGateway;
    const payment = await sign(target, payer, 50);
    const accepted = acceptedOffer(payment, 'of the offer');
    const headers = { 'payment-signature': paymentHeader(payment, { accepted }) };
    const request = (port: number) => fetch(`http://127.0.0.1:${port}/agent/x402${SUBSCRIBE}`, { headers });
    const killed = once(first.child, 'exit');
    await expect(request(first.port)).rejects.toThrow();
    await killed;

    const second = await startProcess('');
    // Nobody asks for it: the reconciler alone finishes the purchase.
    const replica: TestGateway = await startGateway({
      replicaOf: { env: prepared.env } as TestGateway,
      seams: { reconcileEveryMs: 600_000 },
    });
    const periods = async () =>
      (await replica.sql.query('SELECT count(*)::int AS n FROM cell_0.plan_period')).rows[0].n as number;
    await expect.poll(periods, { timeout: 20_000 }).toBe(1);
    const again = await request(second.port);
    expect(again.status).toBe(200);
    const { api_key: apiKey } = (await again.json()) as { api_key: string };
    expect(await status({ ...replica, clock }, payer)).toMatchObject({ api_keys: [apiKey], left_days: 30 });
    expect(await ledgerBreaks(replica)).toEqual([]);
    await replica.stop();
    const ended = once(second.child, 'exit');
    second.child.kill('SIGTERM');
    await ended;
  });
});

describe('a secret that is replaced', () => {
  it('shows no wrong key for an old payment, and old keys go on when they keep their own', async () => {
    const clock = { nowMs: () => Date.now() };
    const gateway: MobulaGateway = { ...(await startGateway()), clock };
    const payer = await createPayer();
    const bought = await pay(gateway, payer, SUBSCRIBE);
    const asked = await pay(gateway, payer, '/subscription');
    const MPP_SECRET_KEY = 'another-secret-key-of-the-tests-0123456789';
    const replaced = await startGateway({ replicaOf: gateway, settings: { MPP_SECRET_KEY } });
    for (const [route, { payment, answerToken }] of [
      [SUBSCRIBE, bought],
      ['/subscription', asked],
    ] as const) {
      const answer = await call({ ...replaced, clock }, route, { payment, answerToken });
      expect(answer).toMatchObject({ status: 409, body: { error: 'conflict' } });
    }
    const kept = await startGateway({
      replicaOf: gateway,
      settings: { MPP_SECRET_KEY, AGENT_KEY_SECRET: gateway.config.mppSecretKey },
    });
    const { payment, answerToken } = bought;
    expect(await call({ ...kept, clock }, SUBSCRIBE, { payment, answerToken })).toMatchObject({
      status: 200,
      body: bought.body,
    });
    await replaced.stop();
    await kept.stop();
    await gateway.stop();
  });
});

describe('a purchase whose rules change while its money moves', () => {
  it('is applied all the same: the plan ends between the check and the credit', async () => {
    const clock = movableClock();
    let forward = 0;
    const gateway: MobulaGateway = {
      ...(await startGateway({
        clock,
        seams: {
          facilitator: facilitator => ({
            ...facilitator,
            async settle(paymentId, payment) {
              const result = await facilitator.settle(paymentId, payment);
              clock.forwardDays(forward);
              return result;
            },
          }),
        },
      })),
      clock,
    };
    const payer = await createPayer();
    const { agentId } = await subscribe(gateway, payer);
    forward = 31;
    const topup = await pay(gateway, payer, `/top-up?agent_id=${agentId}&amount_usd=20`);
    expect(topup).toMatchObject({ status: 200, body: { credits_added: 50_000 } });
    forward = 0;
    expect(await status(gateway, payer)).toMatchObject({
      plan_active: false,
      left_days: 0,
      credits_left: 50_000,
    });
    expect(await pay(gateway, payer, '/api-keys/create')).toMatchObject({ status: 403 });
    await gateway.stop();
  });

  it('that cannot be applied any more leaves its money as credit, and tells the operator', async () => {
    const clock = movableClock();
    const gateway: MobulaGateway = { ...(await startGateway({ clock })), clock };
    const payer = await createPayer();
    await subscribe(gateway, payer);
    await gateway.sql.query(
      `CREATE OR REPLACE FUNCTION cell_0.apply_purpose_agent_key(p cell_0.payment, p_paid bigint, p_now timestamptz)
       RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not any more'; END $$`,
    );
    const answer = await pay(gateway, payer, '/api-keys/create');
    expect(answer).toMatchObject({ status: 409, body: { error: 'conflict' } });
    expect(await call(gateway, '/api-keys/create', { payment: answer.payment })).toMatchObject({
      status: 409,
    });
    const events = await gateway.sql.query(
      `SELECT payload ->> 'reason' AS reason FROM cell_0.outbox WHERE type = 'payment.unapplied'`,
    );
    expect(events.rows).toEqual([{ reason: 'not any more' }]);
    const { credits_left: credits } = await status(gateway, payer);
    // A tenth of a cent is two and a half credits.
    expect(credits).toBe(125_002);
    expect(await ledgerBreaks(gateway)).toEqual([]);
    await gateway.stop();
  });
});
