import type { Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import { MORE_TO_DO } from '../lib/loop.ts';
import {
  claimForeignNotFinal,
  type ForeignSettledAt,
  markForeignFinal,
  moveForeignSettlement,
  undoForeignSettlement,
} from '../payments/foreign-finality-store.ts';
import type { ObservedTransfer } from '../ports/chain.ts';
import type { Facilitator } from '../ports/facilitator.ts';
import type { Log } from '../ports/log.ts';
import { findMoved } from './moved-transfer.ts';
import type { Settlement } from './settlement.ts';
import { readStandings, watchPlaces } from './watch-places.ts';

export interface ForeignFinalityDeps {
  db: Queryable;
  /** Who settles on a network; on one that is not served any more nothing is sent again. */
  facilitatorOf(network: string): Facilitator | undefined;
  settlement: Settlement;
  log: Log;
  /** The pause before the first look at a settlement; later ones are longer. */
  firstCheckMs: number;
  /** How long a transfer that is gone may take to come back before the settlement is open again. */
  graceMs: number;
}

/** What one round may take on; the rest is taken by the next one or by another replica. */
const CLAIM_LIMIT = 500;

const UNDONE =
  'ALARM: a seller was told that a payment is settled, and a reorganisation has undone it: it is sent again';

/**
 * Watches what was settled for other sellers until no reorganisation can undo it, as credited payments are. A settlement
 * follows its transfer into another block. One whose transfer is nowhere is open again, and is brought to its end by the
 * reconciler: it is sent again while the permission is good.
 */
export function createForeignFinality(deps: ForeignFinalityDeps) {
  const { db, settlement, log } = deps;

  async function runOnce(): Promise<typeof MORE_TO_DO | undefined> {
    const claimed = await claimForeignNotFinal(db, { limit: CLAIM_LIMIT, firstCheckMs: deps.firstCheckMs });
    for (const network of new Set(claimed.map(({ signed }) => signed.network))) {
      const items = claimed.filter(({ signed }) => signed.network === network);
      await watch(items).catch((error: unknown) =>
        log.warn({ network, err: error }, 'settlements for others could not be compared with the chain'),
      );
    }
    return claimed.length === CLAIM_LIMIT ? MORE_TO_DO : undefined;
  }

  /** @param items settlements of one network */
  async function watch(items: readonly ForeignSettledAt[]): Promise<void> {
    const [first] = items;
    assert(first, 'a look is at something');
    const { chain } = settlement.networkOf(first);
    await watchPlaces(chain, items, {
      markFinal: final =>
        markForeignFinal(
          db,
          final.map(({ paymentId }) => paymentId),
        ),
      follow: item =>
        follow(item).catch((error: unknown) =>
          log.error(
            { paymentId: item.paymentId, err: error },
            'a moved settlement for another seller could not be followed',
          ),
        ),
    });
  }

  /** Finds the transfer of a settlement whose block is gone, and notes what became of it. */
  async function follow(item: ForeignSettledAt): Promise<void> {
    const { paymentId, caller, place, transaction } = item;
    const transfer = await findAgain(item);
    if (transfer === 'unknown') return;
    if (transfer) {
      await moveForeignSettlement(db, paymentId, { from: place, to: transfer });
      log.warn(
        { paymentId, transaction: transfer.transaction },
        'the transfer of a settlement for another seller is in another block now',
      );
      return;
    }
    // A node that lagged behind or sat on a dead branch would have said the same: it is asked once more.
    const [standing] = await readStandings(settlement.networkOf(item).chain, [place]);
    if (standing !== 'moved') return;
    if (await undoForeignSettlement(db, paymentId, place))
      log.error({ paymentId, caller, transaction }, UNDONE);
  }

  /** A transfer of another amount by the same permission is not what the seller was told of. */
  async function findAgain(item: ForeignSettledAt): Promise<ObservedTransfer | 'unknown' | undefined> {
    const { paymentId, signed } = item;
    const facilitator = deps.facilitatorOf(signed.network);
    const moved = {
      ...item,
      own: async () =>
        (await facilitator?.transactionsOf(paymentId, signed.network)) ?? { all: [], live: [] },
      send: async () =>
        (await facilitator?.settle(paymentId, signed)) ??
        ({ kind: 'unknown', message: 'not served' } as const),
    };
    const transfer = await findMoved(moved, settlement.networkOf(item).chain, deps.graceMs);
    const isOther = typeof transfer === 'object' && transfer.amountBaseUnits !== signed.amountBaseUnits;
    return isOther ? undefined : transfer;
  }

  return {
    runOnce,
    /** Looks at one settlement that somebody asks about. What could not be read stays as it was. */
    check: (item: ForeignSettledAt): Promise<void> =>
      watch([item]).catch((error: unknown) =>
        log.warn(
          { paymentId: item.paymentId, err: error },
          'a settlement could not be compared with the chain',
        ),
      ),
  };
}

export type ForeignFinality = ReturnType<typeof createForeignFinality>;
