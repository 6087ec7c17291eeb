import type { CellName, Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import { MORE_TO_DO } from '../lib/loop.ts';
import {
  type CreditedAt,
  claimNotFinal,
  markFinal,
  movePayment,
  reversePayment,
} from '../payments/finality-store.ts';
import type { Chain, ObservedTransfer } from '../ports/chain.ts';
import type { Log } from '../ports/log.ts';
import { findMoved } from './moved-transfer.ts';
import type { OpenPayment, Settlement } from './settlement.ts';
import { readStandings, watchPlaces } from './watch-places.ts';

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

/** What the books say of credit that is taken back. */
const REASON = 'reorganised';

/**
 * Watches credited payments until no reorganisation can undo them. Their blocks are compared with the chain,
 * one header for all payments of a block; only a payment whose block is gone is proven anew. Its credit
 * follows the transfer into another block, or is taken back when the chain shows the transfer nowhere.
 */
export function createFinalityWatcher(deps: FinalityDeps) {
  const { db, settlement, log } = deps;

  async function runOnce(): Promise<typeof MORE_TO_DO | undefined> {
    let isMore = false;
    for (const cell of deps.cells) {
      const claimed = await claimNotFinal(db, cell, { limit: CLAIM_LIMIT, firstCheckMs: deps.firstCheckMs });
      isMore ||= claimed.length === CLAIM_LIMIT;
      for (const network of new Set(claimed.map(({ payment }) => payment.signed.network))) {
        const items = claimed.filter(({ payment }) => payment.signed.network === network);
        await watch(cell, items).catch((error: unknown) =>
          log.warn({ network, err: error }, 'credited payments could not be compared with the chain'),
        );
      }
    }
    return isMore ? MORE_TO_DO : undefined;
  }

  /** @param items payments of one network */
  async function watch(cell: CellName, items: readonly CreditedAt[]): Promise<void> {
    await watchPlaces(chainOf(cell, items[0]), items, {
      markFinal: final =>
        markFinal(
          db,
          cell,
          final.map(({ payment }) => payment.paymentId),
        ),
      follow: item =>
        follow(cell, item).catch((error: unknown) =>
          log.error(
            { paymentId: item.payment.paymentId, err: error },
            'a moved payment could not be followed',
          ),
        ),
    });
  }

  function chainOf(cell: CellName, item: CreditedAt | undefined): Chain {
    assert(item, 'a look is at something');
    return settlement.networkOf({ ...item.payment, cell }).chain;
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
    const [standing] = await readStandings(chainOf(cell, { payment, place }), [place]);
    if (standing !== 'moved') return;
    const { reversed, writtenOffNanoUsd } = await reversePayment(db, cell, paymentId, {
      ...place,
      reason: REASON,
    });
    if (reversed)
      log.error({ paymentId, writtenOffNanoUsd }, 'a credited transfer was undone: credit reversed');
  }

  function findAgain(
    open: OpenPayment & { transaction: string | undefined },
  ): Promise<ObservedTransfer | 'unknown' | undefined> {
    const { chain, facilitators } = settlement.networkOf(open);
    const { paymentId, signed, facilitator } = open;
    const moved = {
      ...open,
      own: () => facilitators.transactionsOf(facilitator, paymentId, signed.network),
      send: () => facilitators.settle(facilitator, paymentId, signed),
    };
    return findMoved(moved, chain, deps.graceMs);
  }

  return { runOnce };
}
