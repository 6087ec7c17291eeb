import type { CellName, Queryable } from '../db/queryable.ts';
import { type Loop, MORE_TO_DO, startLoop } from '../lib/loop.ts';
import type { Payment } from '../payments/payment.ts';
import { claimOpenPayments, expireLeases } from '../payments/payment-store.ts';
import type { OwnTransactions } from '../ports/facilitator.ts';
import type { Log } from '../ports/log.ts';
import type { ForeignFinish } from './foreign-finish.ts';
import { createLanes, laneOf } from './lanes.ts';
import { addTo, claimed, type Look, type OpenPayment, type Settlement, type Trace } from './settlement.ts';

export interface ReconcilerDeps {
  db: Queryable;
  cells: readonly CellName[];
  settlement: Settlement;
  /** What is settled for other sellers. */
  foreign: Pick<ForeignFinish, 'takeDue' | 'expireLeases' | 'drained'>;
  log: Log;
  intervalMs: number;
}

const CLAIM_LIMIT = 20;
const MAX_PER_LANE = 20;
/** Longer than the slowest work on one payment: two looks of ten seconds, a settle call of fifteen, and the watch. */
const CLAIM_LEASE_MS = 60_000;
/** How long one payment is watched in one round; it comes back in the next. */
const WATCH_MS = 2_000;

/**
 * Brings every payment that was left open to its end: after a crash, a time-out or an outage. Replicas share
 * the work by claiming rows; everything it does is safe to do twice, because a payment is signed once, sent
 * bytes take effect once and a credit is booked once.
 */
export function createReconciler(deps: ReconcilerDeps) {
  const { db, settlement, foreign, log } = deps;
  const lanes = createLanes(MAX_PER_LANE);
  let loop: Loop | undefined;

  async function finish(cell: CellName, payment: Payment): Promise<void> {
    const open: OpenPayment = { ...payment, cell };
    const network = settlement.networkOf(open);
    if (payment.state === 'failed') {
      await settlement.conclude(open, { transactions: [] }, 0);
      return;
    }
    const { facilitators } = network;
    const own = await facilitators.transactionsOf(
      payment.facilitator,
      payment.paymentId,
      payment.signed.network,
    );
    const named = payment.transaction;
    const reported = named === undefined || own.all.includes(named) ? [] : [named];
    const known = { transactions: own.all, reported };
    const { fromBlock, saidSettled } = payment;
    const proof = await settlement.look(network, open, { ...known, fromBlock, saidSettled });
    const trace = traceToWatch(own, known, proof);
    if (proof?.kind === 'unknown' && !proof.used) {
      const result = await facilitators.settle(payment.facilitator, payment.paymentId, payment.signed);
      await settlement.conclude(claimed(open, result), addTo(trace, result), WATCH_MS);
    } else {
      await settlement.conclude(open, trace, WATCH_MS);
    }
  }

  /** Takes on what is due in all cells, and for others. @returns the work on each payment, under way. */
  async function takeDue(): Promise<Promise<void>[]> {
    const works: Promise<void>[] = [];
    for (const cell of deps.cells) {
      const options = { limit: CLAIM_LIMIT, leaseMs: CLAIM_LEASE_MS, without: lanes.full() };
      for (const payment of await claimOpenPayments(db, cell, options)) {
        const lane = laneOf({ network: payment.signed.network, facilitator: payment.facilitator });
        works.push(lanes.start(lane, () => finishSafely(cell, payment)));
      }
    }
    return [...works, ...(await foreign.takeDue())];
  }

  function finishSafely(cell: CellName, payment: Payment): Promise<void> {
    return finish(cell, payment).catch((error: unknown) =>
      log.error({ paymentId: payment.paymentId, err: error }, 'payment could not be reconciled'),
    );
  }

  return {
    /** One round, to its end. @returns how many payments were looked at. */
    async runOnce(): Promise<number> {
      const works = await takeDue();
      await Promise.all(works);
      return works.length;
    },
    /**
     * Starts the loop. Leases are ended first: what a crash of this process left open is nobody's work, and
     * joining in on another replica's payment does no harm: from the claim on it stays with its facilitator.
     */
    async start(): Promise<void> {
      for (const cell of deps.cells) await expireLeases(db, cell);
      await foreign.expireLeases();
      loop = startLoop({
        intervalMs: deps.intervalMs,
        // Not to its end: what is slow must not keep the rest from being taken on.
        round: async () => ((await takeDue()).length >= CLAIM_LIMIT ? MORE_TO_DO : undefined),
        onError: error => log.error({ err: error }, 'reconciler round failed'),
      });
    },
    async stop(): Promise<void> {
      await loop?.stop();
      await Promise.all([lanes.drained(), foreign.drained()]);
    },
  };
}

/**
 * Which transactions may end the payment now. A transaction that was given up for another can still bring the
 * money, but its revert says nothing while the other may be mined.
 */
function traceToWatch(own: OwnTransactions, known: Trace, proof: Look | undefined): Trace {
  if (proof?.kind === 'transferred' || proof?.kind === 'confirming')
    return { transactions: [proof.transfer.transaction] };
  // Without a transaction to wait for, the permission's state and logs are searched.
  if (proof?.kind === 'unknown' && proof.used) return { transactions: [] };
  return own.live.length > 0 ? { ...known, transactions: own.live } : known;
}
