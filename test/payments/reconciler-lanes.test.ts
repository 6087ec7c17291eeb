import { afterAll, beforeAll, expect, it } from 'vitest';
import { startFacilitator, type TestFacilitator } from '../support/facilitator.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { createPayer, paymentHeader, signPayment } from '../support/payment.ts';

/** More than one round of the reconciler takes on. */
const STUCK = 22;

let facilitator: TestFacilitator;
let gateway: TestGateway;

/** Payments that the remote facilitator was asked for before: asked again, it does not answer for as long as we like. */
const asked = new Set<string>();
let held = 0;
let release: () => void = () => undefined;
const released = new Promise<void>(resolve => {
  release = resolve;
});

beforeAll(async () => {
  facilitator = await startFacilitator();
  gateway = await startGateway({
    settings: { FACILITATORS: `${facilitator.url},embedded` },
    seams: {
      settleWaitMs: 50,
      reconcileEveryMs: 50,
      facilitator: member => ({
        ...member,
        async settle(paymentId, payment) {
          if (member.name === 'embedded') return member.settle(paymentId, payment);
          if (asked.has(paymentId)) {
            held += 1;
            await released;
          }
          asked.add(paymentId);
          return { kind: 'unknown', message: 'no answer' };
        },
      }),
    },
  });
});

afterAll(async () => {
  release();
  await gateway.stop();
  await facilitator.stop();
});

async function payOnce(): Promise<string> {
  const payment = await signPayment(await createPayer(100n), gateway.payTo, 5_000_000n);
  const answer = await gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
  expect(answer.statusCode, answer.body).toBe(504);
  return answer.json().details.paymentId;
}

async function count(condition: string): Promise<number> {
  const { rows } = await gateway.sql.query(
    `SELECT count(*)::int AS n FROM cell_0.payment WHERE ${condition}`,
  );
  return rows[0].n;
}

it('a facilitator that does not answer holds up nobody else’s payments, and each is worked on by one', async () => {
  for (let payment = 0; payment < STUCK; payment += 1) await payOnce();
  await gateway.sql.query(
    "UPDATE cell_0.payment SET due_at = now() WHERE state = 'pending' AND attempts = 0",
  );
  await expect.poll(() => held, { timeout: 30_000 }).toBeGreaterThanOrEqual(20);
  // Nobody takes them a second time while the first work on them can still go on.
  expect(await count("attempts = 1 AND due_at > now() + interval '37 s'")).toBeGreaterThanOrEqual(20);
  const other = await payOnce();
  await gateway.sql.query(
    "UPDATE cell_0.payment SET facilitator = 'embedded', due_at = now() WHERE payment_id = $1",
    [other],
  );
  await expect
    .poll(() => count(`payment_id = '${other}' AND state = 'credited'`), { timeout: 30_000 })
    .toBe(1);
  expect(await count('attempts > 1')).toBe(0);
});
