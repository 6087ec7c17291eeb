import type { CellName, Queryable } from '../db/queryable.ts';
import { type Batcher, createBatcher } from './batcher.ts';
import type { Overage, SpendingOperation, SpendingResult } from './spending.ts';

/** Whose credit is spent: a `Customer` of the directory is one. */
export interface SpendingAccount {
  accountId: bigint;
  cell: CellName;
}

/**
 * Spends credit of an account. Every call carries an id (`newId()` of lib/ids.ts), made once and kept by the
 * caller; a hold is captured, released and renewed by the id it was placed with. Amounts are nano-USD.
 *
 * The promise resolves with a status for everything that the ledger has decided: `applied`, `replayed` (this
 * very operation was done before) or a refusal that wrote nothing, such as `insufficient`, `frozen`,
 * `conflict`, `unknown_hold`. It rejects with GatewayError `unavailable` when the outcome is not known: call
 * again with the same id, which can never spend twice. Calls that arrive together share a database call.
 */
export interface Spending {
  /** Takes credit at once. `writeOff` books what is not there as a loss, for service that was given already. */
  debit(
    account: SpendingAccount,
    order: { id: string; amountNanoUsd: bigint; writeOff?: boolean },
  ): Promise<SpendingResult>;
  /** Reserves credit; after `lifetimeMs` (up to 24 days) the sweeper may end the hold. */
  hold(
    account: SpendingAccount,
    order: { id: string; amountNanoUsd: bigint; lifetimeMs: number },
  ): Promise<SpendingResult>;
  /** Ends a hold by a charge: less, equal, zero, or by `overage` more than was held or after it expired. */
  capture(
    account: SpendingAccount,
    order: { id: string; amountNanoUsd: bigint; overage?: Overage },
  ): Promise<SpendingResult>;
  /** Ends a hold without a charge. */
  release(account: SpendingAccount, order: { id: string }): Promise<SpendingResult>;
  /** Lets a hold live for at least `lifetimeMs` from now. */
  renew(account: SpendingAccount, order: { id: string; lifetimeMs: number }): Promise<SpendingResult>;
}

export interface SpendingService extends Spending {
  /** Turns new operations away with `unavailable` and waits until those that were accepted are settled. */
  drain(): Promise<void>;
  /** Takes operations again after a drain. */
  resume(): void;
}

export interface SpendingServiceOptions {
  /** A pool that is used for nothing else, with a connection for every lane and a short lock timeout. */
  db: Queryable;
  /** Lanes per cell; see {@link createBatcher}. */
  lanes?: number;
  /** Told about every database call that failed, also those that succeed when repeated. */
  onFailure?: (error: unknown) => void;
}

/** Spending over one batcher per cell, made when the cell is first used. One service serves a whole process. */
export function createSpendingService({ db, lanes = 2, onFailure }: SpendingServiceOptions): SpendingService {
  const batchers = new Map<CellName, Batcher>();
  let drained = false;

  function batcherOf(cell: CellName): Batcher {
    const known = batchers.get(cell);
    if (known) return known;
    const batcher = createBatcher({ db, cell, lanes, ...(onFailure ? { onFailure } : {}) });
    if (drained) void batcher.drain();
    batchers.set(cell, batcher);
    return batcher;
  }

  function submit({ cell }: SpendingAccount, operation: SpendingOperation): Promise<SpendingResult> {
    return batcherOf(cell).submit(operation);
  }

  return {
    debit: (account, order) => submit(account, { kind: 'debit', accountId: account.accountId, ...order }),
    hold: (account, order) => submit(account, { kind: 'hold', accountId: account.accountId, ...order }),
    capture: (account, order) => submit(account, { kind: 'capture', accountId: account.accountId, ...order }),
    release: (account, order) => submit(account, { kind: 'release', accountId: account.accountId, ...order }),
    renew: (account, order) => submit(account, { kind: 'renew', accountId: account.accountId, ...order }),
    async drain() {
      drained = true;
      await Promise.all([...batchers.values()].map(batcher => batcher.drain()));
    },
    resume() {
      drained = false;
      batchers.clear();
    },
  };
}
