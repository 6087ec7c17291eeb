import { correctSpend, reserveSpend } from '../customers/key-spend.ts';
import { orUnavailable } from '../db/pg-errors.ts';
import type { Queryable } from '../db/queryable.ts';
import type { Clock } from '../lib/clock.ts';
import type { KeyHolder } from './types.ts';

/** An amount that is counted against a key's cap until it is known what the call really cost. */
export interface KeyReservation {
  /** @param chargedNanoUsd what was charged in the end; zero when nothing was */
  settle(chargedNanoUsd: bigint): Promise<void>;
}

export interface KeySpending {
  /**
   * To be asked before every charge or hold that a key causes, with what it will be at most. A process that dies
   * before it settles leaves the amount counted: the key reaches its cap early, and never spends more than it.
   * @returns undefined when the key's cap forbids it
   * @throws GatewayError `unavailable`
   */
  reserve(holder: KeyHolder, amountNanoUsd: bigint): Promise<KeyReservation | undefined>;
}

const UNLIMITED: KeyReservation = { settle: () => Promise.resolve() };

/** Counts what keys with a cap spend in a calendar month (UTC); for a key without one it asks nobody. */
export function createKeySpending({ db, clock }: { db: Queryable; clock: Clock }): KeySpending {
  return {
    async reserve({ keyId, customer, spendingCapNanoUsd }, amountNanoUsd) {
      if (spendingCapNanoUsd === undefined) return UNLIMITED;
      const { cell, accountId } = customer;
      const month = `${new Date(clock.nowMs()).toISOString().slice(0, 7)}-01`;
      const spend = { cell, accountId, keyId, month };
      const reserve = reserveSpend(db, { ...spend, amountNanoUsd }, spendingCapNanoUsd);
      if (!(await orUnavailable(reserve))) return undefined;
      return {
        async settle(chargedNanoUsd) {
          const difference = chargedNanoUsd - amountNanoUsd;
          if (difference === 0n) return;
          await orUnavailable(correctSpend(db, { ...spend, amountNanoUsd: difference }));
        },
      };
    },
  };
}
