import type { Pool } from 'pg';
import { type LockedCustomer, lockCustomer } from '../customers/customers.ts';
import { claimOperatorCredit, type OperatorCredit } from '../customers/operator-credits.ts';
import { orUnavailable } from '../db/pg-errors.ts';
import { withTransaction } from '../db/transaction.ts';
import { openAccount } from '../ledger/accounts.ts';
import { CONTRA } from '../ledger/chart.ts';
import { adjust } from '../ledger/corrections.ts';
import { isDone } from '../ledger/status.ts';
import { assert } from '../lib/assert.ts';
import type { Environment } from '../ports/environment.ts';

export type { OperatorCredit } from '../customers/operator-credits.ts';

export type OperatorCreditOutcome =
  /** Booked by this call or by an earlier one of the same name. */
  | {
      kind: 'credited';
      creditId: string;
      environment: Environment;
      /** What the customer has now. */
      availableNanoUsd: bigint;
      replayed: boolean;
    }
  | { kind: 'unknown_customer' }
  /** The wallet of somebody who was sent top-ups: nobody could spend the credit. */
  | { kind: 'recipient' }
  /** The name stands for another order. */
  | { kind: 'key_reused' }
  /** More than an account can hold. */
  | { kind: 'too_much' };

export interface OperatorCredits {
  /**
   * Credits a customer of any dialect by hand, once for each name of an order.
   * @throws GatewayError `unavailable` while the database is down; the same order may be sent again then
   */
  credit(order: OperatorCredit): Promise<OperatorCreditOutcome>;
}

export function createOperatorCredits(pool: Pool): OperatorCredits {
  async function credit(order: OperatorCredit): Promise<OperatorCreditOutcome> {
    const claim = await withTransaction(pool, async db => {
      const customer = await lockCustomer(db, order.customerId);
      if (!customer || customer.isRecipient) return customer;
      return {
        ...customer,
        creditId: await claimOperatorCredit(db, { ...order, environment: customer.environment }),
      };
    });
    if (!claim) return { kind: 'unknown_customer' };
    if (!('creditId' in claim)) return { kind: 'recipient' };
    return claim.creditId === undefined ? { kind: 'key_reused' } : book(claim, claim.creditId, order);
  }

  /** In the customer's cell, which may be on another machine; a repetition finds what is booked already. */
  function book(
    { accountId, cell, environment }: LockedCustomer,
    creditId: string,
    { amountNanoUsd, reason, actor }: OperatorCredit,
  ): Promise<OperatorCreditOutcome> {
    return withTransaction(pool, async db => {
      await openAccount(db, cell, { accountId, environment });
      const order = { accountId, id: creditId, amountNanoUsd, contra: CONTRA.byOperator, reason, actor };
      const { status, availableNanoUsd } = await adjust(db, cell, order);
      if (status === 'invalid_amount') return { kind: 'too_much' };
      assert(isDone(status), `the ledger takes the operator's credit: ${status}`);
      return { kind: 'credited', creditId, environment, availableNanoUsd, replayed: status === 'replayed' };
    });
  }

  return { credit: order => orUnavailable(credit(order)) };
}
