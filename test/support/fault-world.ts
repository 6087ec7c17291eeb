import { setTimeout as sleep } from 'node:timers/promises';
import { unavailable } from '../../src/lib/errors.ts';
import type { EvmClient } from '../../src/ports/evm-client.ts';
import { judge } from '../../src/topups/reconciliation.ts';
import { localChain, usdcTransfersTo } from './chain.ts';
import { startFacilitator } from './facilitator.ts';
import type { FaultSchedule, FaultStep, NodeFault } from './fault-schedule.ts';
import { startGateway, type TestGateway } from './gateway.ts';
import { createPayer, paymentHeader, type SignedPayment, signPayment } from './payment.ts';

/** Two replicas on one database, a remote facilitator with faults before the embedded one, and faulty nodes. */
export interface FaultWorld {
  /** Plays the payments of a schedule one after another; what is not decided is left open. */
  play(schedule: FaultSchedule): Promise<void>;
  /** Waits until the chain has decided about every payment, and says what does not add up: nothing, one hopes. */
  settleUp(): Promise<string[]>;
  stop(): Promise<void>;
}

/** Signed validity: long enough to be verified, short enough to wait for its end. */
const VALID_SECONDS = 20;

const AMOUNT = 5_000_000n;

/** How long a facilitator that stopped listening stays away. */
const AWAY_MS = 300;

export async function startFaultWorld(): Promise<FaultWorld> {
  const facilitator = await startFacilitator();
  let fault: NodeFault = 'none';
  const down = () => Promise.reject(unavailable('the Base node'));
  const evmClient = (client: EvmClient): EvmClient => ({
    ...client,
    receipt: hash => (fault === 'receipts-down' ? down() : client.receipt(hash)),
    logs: filter => (fault === 'logs-down' ? down() : client.logs(filter)),
    async sendRawTransaction(raw) {
      await client.sendRawTransaction(raw);
      if (fault === 'send-reply-lost') await down();
    },
  });
  const seams = { evmClient, settleWaitMs: 500, settleTimeoutMs: 500, reconcileEveryMs: 200 };
  const first = await startGateway({ seams, settings: { FACILITATORS: `${facilitator.url},embedded` } });
  const second = await startGateway({ seams, replicaOf: first });
  const replicas = [first, second] as const;
  const payments: SignedPayment[] = [];

  async function playStep(step: FaultStep): Promise<void> {
    const payer = await createPayer(10n);
    const validBefore = BigInt(Math.floor(Date.now() / 1000) + VALID_SECONDS);
    const payment = await signPayment(payer, first.payTo, AMOUNT, { validBefore });
    payments.push(payment);
    await facilitator.plan(payment.authorization.nonce, step.facilitator);
    fault = step.node;
    const show = (index: 0 | 1) => pay(replicas[index], payment);
    if (step.atOnce) await Promise.all(step.shownTo.map(show));
    else for (const index of step.shownTo) await show(index);
    fault = 'none';
    if (step.facilitator === 'down-after-verify') await sleep(AWAY_MS);
    await facilitator.open();
    // A claim that was disproved takes the facilitator out; here the operator always puts it back.
    await first.sql.query(
      `UPDATE directory.facilitator SET distrusted_at = NULL, distrust_payment_id = NULL, distrust_reason = NULL
       WHERE distrusted_at IS NOT NULL`,
    );
  }

  return {
    async play({ steps }) {
      for (const step of steps) await playStep(step);
    },
    async settleUp() {
      await waitUntilDecided(first);
      const problems = await findProblems(first, payments);
      const report = await first.services.reconcile({ dryRun: true });
      if (judge(report) !== 'in_order') problems.push(`reconcile: ${describe(report)}`);
      return problems;
    },
    async stop() {
      await second.stop();
      await first.stop();
      await facilitator.stop();
    },
  };
}

export function pay(on: TestGateway, payment: SignedPayment) {
  return on.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
}

const DECISION_TIMEOUT_MS = 120_000;

/** Every payment ends with its authorization at the latest, once the chain has made safe blocks past it. */
async function waitUntilDecided(gateway: TestGateway): Promise<void> {
  const deadlineMs = Date.now() + DECISION_TIMEOUT_MS;
  for (;;) {
    const { rows } = await gateway.sql.query(
      `SELECT identity, state, reason, facilitator, transaction, from_block, attempts, said_settled
       FROM cell_0.payment WHERE state IN ('settling', 'pending') LIMIT 5`,
    );
    if (rows.length === 0) return;
    if (Date.now() > deadlineMs) throw new Error(`payments are still open: ${JSON.stringify(rows)}`);
    await localChain().mine({ blocks: 4 });
    // The pause between two looks at one payment grows to minutes; here nobody wants to wait for it.
    await gateway.sql.query(
      "UPDATE cell_0.payment SET due_at = now() WHERE state IN ('settling', 'pending')",
    );
    await sleep(1_000);
  }
}

/** Compares every payment with the chain: credited once if its money moved, failed or never stored if not. */
async function findProblems(gateway: TestGateway, payments: readonly SignedPayment[]): Promise<string[]> {
  const transfers = await usdcTransfersTo(gateway.payTo);
  const { rows } = await gateway.sql.query<{ identity: string; state: string; credits: number }>(
    `SELECT p.identity, p.state,
       (SELECT count(*)::int FROM cell_0.transfer t WHERE t.account_id = p.account_id AND t.amount > 0) AS credits
     FROM cell_0.payment p`,
  );
  return payments.flatMap(({ authorization: { from, nonce } }) => {
    const moved = transfers.filter(transfer => transfer.from === from.toLowerCase()).length;
    const stored = rows.filter(row => row.identity.endsWith(nonce.toLowerCase()));
    const [payment] = stored;
    const credits = payment?.state === 'credited' ? payment.credits : 0;
    if (moved <= 1 && stored.length <= 1 && credits === moved) return [];
    return [
      `payment ${nonce}: moved ${moved} times, ${payment?.state ?? 'not stored'}, credited ${credits} times`,
    ];
  });
}

function describe(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? part.toString() : part));
}
