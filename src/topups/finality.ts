import type { CellName, Queryable } from '../db/queryable.ts';
import { sleep, withDeadline } from '../lib/deadline.ts';
import {
  type CreditedAt,
  claimNotFinal,
  markFinal,
  movePayment,
  reversePayment,
} from '../payments/finality-store.ts';
import type { ObservedTransfer, SettlementProof, Standing } from '../ports/chain.ts';
import type { Log } from '../ports/log.ts';
import { addTo, type OpenPayment, type Settlement, type Trace } from './settlement.ts';

export interface FinalityDeps {
  db: Queryable;
  cells: readonly CellName[];
  settlement: Settlement;
  log: Log;
  /** The pause before the first look at a credited payment; later ones are longer. */
  firstCheckMs: number;
  /** How long a transfer that is gone may take to come back before its credit is reversed. */
  graceMs: number;
}

/** What one round may take on; the rest is taken by the next one or by another replica. */
const CLAIM_LIMIT = 500;
const MAX_PARALLEL = 20;
const LOOK_TIMEOUT_MS = 10_000;
const POLL_MS = 200;

/** What the books say of credit that is taken back. */
const REASON = 'reorganised';

/**
 * Watches credited payments until no reorganisation can undo them. Their blocks are compared with the chain,
 * one header for all payments of a block; only a payment whose block is gone is proven anew. Its credit
 * follows the transfer into another block, or is taken back when the chain shows the transfer nowhere.
 */
export function createFinalityWatcher(deps: FinalityDeps) {
  const { db, settlement, log } = deps;

  /** @returns how many payments were looked at. */
  async function runOnce(): Promise<number> {
    let count = 0;
    for (const cell of deps.cells) {
      const claimed = await claimNotFinal(db, cell, { limit: CLAIM_LIMIT, firstCheckMs: deps.firstCheckMs });
      count += claimed.length;
      for (const network of new Set(claimed.map(({ payment }) => payment.signed.network))) {
        const items = claimed.filter(({ payment }) => payment.signed.network === network);
        await watch(cell, items).catch((error: unknown) =>
          log.warn({ network, err: error }, 'credited payments could not be compared with the chain'),
        );
      }
    }
    return count;
  }

  /** @param items payments of one network */
  async function watch(cell: CellName, items: readonly CreditedAt[]): Promise<void> {
    const standings = await standingOf(cell, items);
    const final = items.filter((_, index) => standings[index] === 'final');
    if (final.length > 0) {
      await markFinal(
        db,
        cell,
        final.map(({ payment }) => payment.paymentId),
      );
    }
    const moved = items.filter((_, index) => standings[index] === 'moved');
    for (let start = 0; start < moved.length; start += MAX_PARALLEL) {
      const part = moved
        .slice(start, start + MAX_PARALLEL)
        .map(item =>
          follow(cell, item).catch((error: unknown) =>
            log.error(
              { paymentId: item.payment.paymentId, err: error },
              'a moved payment could not be followed',
            ),
          ),
        );
      await Promise.all(part);
    }
  }

  async function standingOf(cell: CellName, items: readonly CreditedAt[]): Promise<Standing[]> {
    const [first] = items;
    if (!first) return [];
    const { chain } = settlement.networkOf({ ...first.payment, cell });
    const reading = chain.standing(items.map(({ place }) => place));
    return withDeadline('a look at credited payments', LOOK_TIMEOUT_MS, reading);
  }

  /** Finds the transfer of a payment whose block is gone, and books what became of it. */
  async function follow(cell: CellName, { payment, place }: CreditedAt): Promise<void> {
    const { paymentId } = payment;
    const transfer = await findAgain({ ...payment, cell });
    if (transfer === 'unknown') return;
    if (transfer) {
      await movePayment(db, cell, paymentId, { from: place, to: transfer });
      log.warn(
        { paymentId, transaction: transfer.transaction },
        'a credited transfer is in another block now',
      );
      return;
    }
    // A node that lagged behind or sat on a dead branch would have said the same: it is asked once more.
    const [standing] = await standingOf(cell, [{ payment, place }]);
    if (standing !== 'moved') return;
    const { reversed, writtenOffNanoUsd } = await reversePayment(db, cell, paymentId, {
      ...place,
      reason: REASON,
    });
    if (reversed)
      log.error({ paymentId, writtenOffNanoUsd }, 'a credited transfer was undone: credit reversed');
  }

  /**
   * Gives what was sent before to the node again and waits for it.
   * @returns the transfer; undefined when the chain shows that the permission is unused; `unknown` otherwise.
   */
  async function findAgain(
    open: OpenPayment & { transaction: string | undefined },
  ): Promise<ObservedTransfer | 'unknown' | undefined> {
    const { chain, facilitators } = settlement.networkOf(open);
    const { paymentId, signed, fromBlock, facilitator } = open;
    const own = await facilitators.transactionsOf(facilitator, paymentId, signed.network);
    const named = open.transaction;
    const reported = named === undefined || own.all.includes(named) ? [] : [named];
    let trace: Trace = { transactions: own.all, reported };
    const prove = (where: Trace): Promise<SettlementProof> =>
      withDeadline('proof', LOOK_TIMEOUT_MS, chain.proveSettlement(signed, { ...where, fromBlock }));
    const deadlineMs = performance.now() + deps.graceMs;
    for (let round = 0; ; round += 1) {
      const proof = await prove(trace);
      if (proof.kind === 'transferred') return proof.transfer;
      if (performance.now() > deadlineMs) break;
      if (round === 0) trace = addTo(trace, await facilitators.settle(facilitator, paymentId, signed));
      await sleep(POLL_MS);
    }
    // Not by any transaction that is known; somebody else's would have used the permission up.
    const proof = await prove({ transactions: [] });
    if (proof.kind === 'transferred') return proof.transfer;
    return proof.kind === 'unknown' && proof.used ? 'unknown' : undefined;
  }

  return { runOnce };
}
