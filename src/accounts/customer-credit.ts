import { orUnavailable } from '../db/pg-errors.ts';
import type { Queryable } from '../db/queryable.ts';
import { readBalance } from '../ledger/balances.ts';
import type { CustomerCredit } from './types.ts';

/** Reads credit by the account's key: one row. */
export function createCustomerCredit(db: Queryable): CustomerCredit {
  return {
    async available({ cell, accountId }) {
      const balance = await orUnavailable(readBalance(db, cell, accountId));
      return balance?.availableNanoUsd ?? 0n;
    },
  };
}
