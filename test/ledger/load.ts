import { isConnectionLoss } from '../../src/db/pg-errors.ts';
import type { CellName, Queryable } from '../../src/db/queryable.ts';
import { createBatcher } from '../../src/ledger/batcher.ts';
import type { SpendingOperation } from '../../src/ledger/spending.ts';
import { isDone } from '../../src/ledger/status.ts';
import { DeadlineError, sleep, withDeadline } from '../../src/lib/deadline.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import { newId } from '../../src/lib/ids.ts';
import { type LoadOrder, ordersAround } from './load-orders.ts';

export interface LoadOptions {
  db: Queryable;
  cell: CellName;
  /** Accounts 1 to this number, which must be open and funded. */
  accounts: number;
  inFlight: number;
  durationMs: number;
  /** Called for everything that the ledger has acknowledged, at once. */
  onDone: (done: { kind: string; id: string }) => void;
}

/** SQLSTATEs and messages of failed calls, by how often they came. */
export type Failures = Record<string, number>;

/** A pool that is closed under its callers answers those that wait for a connection never. */
const ORDER_TIMEOUT_MS = 5_000;

/**
 * Debits, holds with captures or releases, and repetitions, as fast as they are answered, over two lanes; and beside
 * them grants and corrections of the same accounts, in calls of their own. An outcome that is unknown is asked for
 * again with the same id, as every caller must.
 */
export async function runLoad(options: LoadOptions): Promise<Failures> {
  const failures: Failures = {};
  const note = (error: unknown) => {
    const code = (error as { code?: string }).code ?? (error as Error).message;
    failures[code] = (failures[code] ?? 0) + 1;
  };
  const batcher = createBatcher({
    db: options.db,
    cell: options.cell,
    maxAttempts: 100,
    onFailure: note,
  });
  const end = performance.now() + options.durationMs;

  async function perform(operation: SpendingOperation): Promise<boolean> {
    for (;;) {
      try {
        const { status } = await batcher.submit(operation);
        if (status === 'insufficient') return false;
        if (status !== 'applied' && status !== 'replayed') throw new Error(`${operation.kind}: ${status}`);
        options.onDone(operation);
        return true;
      } catch (error) {
        if (!(error instanceof GatewayError && error.code === 'unavailable')) throw error;
      }
    }
  }

  async function correct(order: LoadOrder): Promise<void> {
    for (;;) {
      try {
        const { status } = await withDeadline('an order', ORDER_TIMEOUT_MS, order.send(options.db));
        if (!isDone(status)) throw new Error(`${order.kind}: ${status}`);
        options.onDone(order);
        return;
      } catch (error) {
        note(error);
        if (!isConnectionLoss(error) && !(error instanceof DeadlineError)) throw error;
        await sleep(25);
      }
    }
  }

  async function write(): Promise<void> {
    while (performance.now() < end) {
      const target = { accountId: BigInt(1 + Math.floor(Math.random() * options.accounts)), id: newId() };
      const draw = Math.random();
      if (draw < 0.4) {
        const debit = { kind: 'debit', ...target, amountNanoUsd: 3n } as const;
        const done = await perform(debit);
        if (done && draw < 0.05) await perform(debit);
        if (done && draw > 0.38)
          for (const order of ordersAround(options.cell, target.accountId, target.id)) await correct(order);
      } else if (await perform({ kind: 'hold', ...target, amountNanoUsd: 5n, lifetimeMs: 600_000 })) {
        if (draw < 0.6) await perform({ kind: 'renew', ...target, lifetimeMs: 700_000 });
        if (draw < 0.9) await perform({ kind: 'capture', ...target, amountNanoUsd: 4n });
        else await perform({ kind: 'release', ...target });
      }
    }
  }

  await Promise.all(Array.from({ length: options.inFlight }, write));
  await batcher.drain();
  return failures;
}
