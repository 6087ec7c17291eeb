import type { CellName, Queryable } from '../db/queryable.ts';
import { lockAccount } from '../ledger/accounts.ts';
import { CONTRA } from '../ledger/chart.ts';
import { addGrant } from '../ledger/grants.ts';
import { isDone } from '../ledger/status.ts';
import { assert } from '../lib/assert.ts';
import { newId } from '../lib/ids.ts';

/** The account of a customer or of a recipient's wallet. */
export interface Wallet {
  accountId: bigint;
  cell: CellName;
}

/** Locks two accounts in ascending order, as everywhere, so that whoever moves credit back does not meet us. */
export async function lockBoth(db: Queryable, one: Wallet, other: Wallet): Promise<void> {
  const [first, second] = one.accountId < other.accountId ? [one, other] : [other, one];
  await lockAccount(db, first.cell, first.accountId);
  await lockAccount(db, second.cell, second.accountId);
}

/**
 * Adds credit that came from somebody else's, out of `revenue`, where that was charged to; promotional credit stays
 * promotional.
 * @param credit.promotionalNanoUsd at most the amount
 * @returns what the account has then
 */
export async function passCredit(
  db: Queryable,
  { cell, accountId }: Wallet,
  credit: { amountNanoUsd: bigint; promotionalNanoUsd: bigint },
): Promise<bigint> {
  const { amountNanoUsd, promotionalNanoUsd } = credit;
  let availableNanoUsd = 0n;
  for (const [source, part] of [
    ['promotional', promotionalNanoUsd],
    ['paid', amountNanoUsd - promotionalNanoUsd],
  ] as const) {
    if (part === 0n) continue;
    const grant = { accountId, id: newId(), amountNanoUsd: part, source, contra: CONTRA.revenue };
    const result = await addGrant(db, cell, grant);
    assert(isDone(result.status), `the account takes the credit: ${result.status}`);
    ({ availableNanoUsd } = result);
  }
  return availableNanoUsd;
}
