import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientBase, Pool } from 'pg';
import { judge } from '../../src/topups/reconciliation.ts';
import type { TestGateway } from './gateway.ts';
import type { OwnChains, TestPayment } from './own-chains.ts';

/** A payment as the books have it. */
export interface StoredPayment {
  paymentId: string;
  identity: string;
  state: string;
  reason: string | null;
  facilitator: string;
  saidSettled: boolean;
  transaction: string | null;
  attempts: number;
  /** Transfers that raised its account, less those that took such credit back. */
  credits: number;
}

/** A payment as the books and its chain have it. */
export interface Outcome<P extends TestPayment> {
  payment: P;
  stored: StoredPayment | undefined;
  /** How many times its money left its wallet. */
  moved: number;
}

/** Whatever statements can be sent with. */
type Queries = Pick<ClientBase | Pool, 'query'>;

export async function readPayments(sql: Queries): Promise<StoredPayment[]> {
  const { rows } = await sql.query<StoredPayment>(
    `SELECT p.payment_id AS "paymentId", p.identity, p.state, p.reason, p.facilitator, p.said_settled AS "saidSettled", p.transaction, p.attempts,
       (SELECT coalesce(sum(sign(t.amount)), 0)::int FROM cell_0.transfer t
        WHERE t.account_id = p.account_id) AS credits
     FROM cell_0.payment p`,
  );
  return rows;
}

export function findStored<S extends { identity: string }>(
  stored: readonly S[],
  payment: TestPayment,
): S | undefined {
  return stored.find(({ identity }) => identity.endsWith(payment.key));
}

const isOpen = ({ state }: Pick<StoredPayment, 'state'>): boolean =>
  ['settling', 'pending', 'reversed'].includes(state);

const LOOK_EVERY_MS = 300;
const KNOWN_TIMEOUT_MS = 40_000;
const POLL_MS = 50;

/**
 * Waits until no payment is open but those that `mayStay`, and lets the reconciler look at all of them again and again.
 * The pause between two looks at one payment grows to minutes; here nobody wants to wait for it.
 * @returns the payments that are still open when the time is over
 */
export async function waitUntilClosed(
  sql: Queries,
  options: { timeoutMs: number; mayStay?: (stored: StoredPayment) => boolean },
): Promise<StoredPayment[]> {
  const { timeoutMs, mayStay = () => false } = options;
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const open = (await readPayments(sql)).filter(isOpen).filter(stored => !mayStay(stored));
    if (open.length === 0 || performance.now() > deadlineMs) return open;
    await sql.query(
      "UPDATE cell_0.payment SET due_at = now() WHERE state IN ('settling', 'pending', 'reversed')",
    );
    await sleep(LOOK_EVERY_MS);
  }
}

/** On Solana no facilitator is trusted with a payment before it has said which account pays its fees. */
export async function waitUntilKnown(sql: Queries, remotes: number): Promise<void> {
  const deadlineMs = performance.now() + KNOWN_TIMEOUT_MS;
  for (;;) {
    const { rows } = await sql.query<{ known: number }>(
      'SELECT count(*)::int AS known FROM directory.facilitator WHERE supported IS NOT NULL',
    );
    if (rows[0]?.known === remotes) return;
    if (performance.now() > deadlineMs) throw new Error('the facilitators do not say what they support');
    await sleep(POLL_MS);
  }
}

export async function readOutcomes<P extends TestPayment>(
  chains: OwnChains,
  sql: Queries,
  payments: readonly P[],
): Promise<Outcome<P>[]> {
  const all = await readPayments(sql);
  return Promise.all(
    payments.map(async payment => ({
      payment,
      stored: findStored(all, payment),
      moved: await chains.timesMoved(payment),
    })),
  );
}

/** @returns undefined for one that is credited once if its money moved, and failed or never stored if it did not */
export function gapOf({ payment, stored, moved }: Outcome<TestPayment>): string | undefined {
  const credits = stored?.state === 'credited' ? stored.credits : 0;
  const isClosed = stored === undefined || stored.state === 'credited' || stored.state === 'failed';
  if (isClosed && moved <= 1 && credits === moved && (stored?.credits ?? 0) === moved) return undefined;
  return `${payment.network} ${payment.key}: moved ${moved} times, ${describe(stored ?? 'not stored')}`;
}

/** What is not empty in the report of `topup-gateway reconcile`, and what it could not tell. */
export async function reconcileProblems(gateway: TestGateway): Promise<string[]> {
  const report = await gateway.services.reconcile({ dryRun: true });
  const { networks, settledNotCredited, creditedNotOnChain, pending, confirming, suspense, undone } = report;
  const lists = { settledNotCredited, creditedNotOnChain, pending, confirming, suspense, undone };
  const problems = [
    ...networks.flatMap(({ network, problem }) => (problem ? [`${network}: ${problem}`] : [])),
    ...Object.entries(lists).flatMap(([name, list]) => list.map(item => `${name}: ${describe(item)}`)),
  ];
  if (problems.length === 0 && judge(report) !== 'in_order') problems.push(`judged ${judge(report)}`);
  return problems.map(problem => `reconcile: ${problem}`);
}

export function describe(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? part.toString() : part));
}
