import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { usdcTransfersTo } from '../support/chain.ts';
import { makeSchedule } from '../support/fault-schedule.ts';
import { type FaultWorld, startFaultWorld } from '../support/fault-world.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, type SignedPayment, signPayment } from '../support/payment.ts';
import { presentPayment } from '../support/solana-gateway.ts';

/** `FAULT_SEED=<seed> FAULT_COUNT=1` plays one schedule of the long run again. */
// By default four with both chains, two kills, a restart, most faults of facilitators and all of nodes.
const FIRST_SEED = Number(process.env['FAULT_SEED'] ?? 47_229);
const COUNT = Number(process.env['FAULT_COUNT'] ?? 4);

describe('random faults of facilitators, nodes and replicas', () => {
  let world: FaultWorld;

  beforeAll(async () => {
    world = await startFaultWorld();
  });

  afterAll(async () => {
    await world.stop();
  });

  it(`leave no gap between chains and books (${COUNT} schedules from seed ${FIRST_SEED})`, async () => {
    const schedules = Array.from({ length: COUNT }, (_, index) => makeSchedule(FIRST_SEED + index));
    const { problems, payments } = await world.play(schedules);
    expect(problems).toEqual([]);
    expect(payments.filter(({ state }) => state === 'credited').length).toBeGreaterThan(0);
  });
});

describe('two replicas', () => {
  let first: TestGateway;
  let second: TestGateway;

  beforeAll(async () => {
    first = await startGateway();
    second = await startGateway({ replicaOf: first });
  });

  afterAll(async () => {
    await second.stop();
    await first.stop();
  });

  it('that are given the same payment at once, 100 times, credit each once', async () => {
    const payers = await Promise.all(Array.from({ length: 10 }, () => createPayer(100n)));
    for (const payer of payers) {
      const payments = await Promise.all(
        Array.from({ length: 10 }, () => signPayment(payer, first.payTo, 5_000_000n)),
      );
      const statuses = await Promise.all(
        payments.flatMap(payment => [pay(first, payment), pay(second, payment)]),
      );
      for (const { statusCode } of statuses) expect([200, 409]).toContain(statusCode);
    }
    expect(await creditsOf(first)).toEqual({ credited: 100, open: 0, transfers: 100 });
    expect(await usdcTransfersTo(first.payTo)).toHaveLength(100);
  }, 60_000);

  it('credit 200 payments at once from 20 wallets and leave no nonce unused', async () => {
    const own = await startGateway();
    const payers = await Promise.all(Array.from({ length: 20 }, () => createPayer(100n)));
    const payments = await Promise.all(
      payers.flatMap(payer => Array.from({ length: 10 }, () => signPayment(payer, own.payTo, 5_000_000n))),
    );
    const answers = await Promise.all(payments.map(payment => pay(own, payment)));
    expect(answers.filter(({ statusCode }) => statusCode !== 200)).toEqual([]);
    expect(await creditsOf(own)).toEqual({ credited: 200, open: 0, transfers: 200 });
    const { rows } = await own.sql.query(
      `SELECT next_nonce::int AS next, (SELECT count(DISTINCT nonce)::int FROM directory.evm_transaction) AS used
       FROM directory.evm_sender`,
    );
    expect(rows).toEqual([{ next: 200, used: 200 }]);
    await own.stop();
  }, 60_000);
});

function pay(on: TestGateway, payment: SignedPayment) {
  return presentPayment(on, paymentHeader(payment));
}

async function creditsOf(gateway: TestGateway) {
  const { rows } = await gateway.sql.query(
    `SELECT count(*) FILTER (WHERE state = 'credited')::int AS credited,
       count(*) FILTER (WHERE state IN ('settling', 'pending'))::int AS open,
       (SELECT count(*)::int FROM cell_0.transfer) AS transfers
     FROM cell_0.payment`,
  );
  return rows[0];
}
