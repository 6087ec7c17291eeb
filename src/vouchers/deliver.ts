import type { Pool } from 'pg';
import { resolveRecipient } from '../customers/customers.ts';
import type { CellName, Queryable } from '../db/queryable.ts';
import { withTransaction } from '../db/transaction.ts';
import { openAccount } from '../ledger/accounts.ts';
import { CONTRA } from '../ledger/chart.ts';
import { addGrant } from '../ledger/grants.ts';
import { applyOperations } from '../ledger/spending.ts';
import { isDone, type LedgerStatus } from '../ledger/status.ts';
import { assert } from '../lib/assert.ts';
import { newId } from '../lib/ids.ts';
import type { Sealer } from '../lib/sealed.ts';
import { sealContext } from '../webhooks/events.ts';
import { hashVoucherCode, mintVoucherCode } from './codes.ts';
import { topupPayload } from './event-payload.ts';
import { lockPendingTopup, type OwnedTopup } from './topup-store.ts';

/** The sender's hold is not there any more, so there is nothing to deliver with. */
export class HoldLostError extends Error {
  constructor(readonly status: LedgerStatus) {
    super(`the hold of the top-up is gone: ${status}`);
  }
}

export interface Delivered {
  voucherCode: string;
  newBalanceNanoUsd: bigint;
}

/**
 * Charges the sender, credits the recipient's wallet of the platform, issues the code and notes the event, in
 * one transaction. What leaves one customer for another passes through `revenue` and out again, so nothing
 * is earned before somebody spends it.
 * @returns undefined when the top-up is not pending any more
 * @throws HoldLostError
 */
export async function deliverTopup(
  pool: Pool,
  sealer: Sealer,
  cell: CellName,
  topup: OwnedTopup,
  senderCustomerId: string,
): Promise<Delivered | undefined> {
  const { environment, platform, recipientEmail, topupId, transactionId } = topup;
  const value = `${platform}:${recipientEmail?.toLowerCase() ?? `customer:${senderCustomerId}`}`;
  const wallet = await resolveRecipient(pool, { environment, value });
  await openAccount(pool, wallet.cell, { accountId: wallet.accountId, environment });
  const voucherCode = mintVoucherCode();
  const voucher = sealer.seal(voucherCode, sealContext(environment, transactionId));

  return withTransaction(pool, async db => {
    if (!(await lockPendingTopup(db, cell, topupId))) return undefined;
    const newBalanceNanoUsd = await moveCredit(db, { cell, topup, wallet });
    await db.query({
      name: `${cell}.deliver_topup`,
      text: `SELECT "${cell}".deliver_topup($1, $2, $3, $4, $5, $6, $7)`,
      values: [
        topupId,
        voucher,
        hashVoucherCode(voucherCode),
        newBalanceNanoUsd,
        wallet.accountId,
        wallet.cell,
        JSON.stringify(topupPayload(topup, { voucher: { $sealed: voucher }, newBalanceNanoUsd })),
      ],
    });
    return { voucherCode, newBalanceNanoUsd };
  });
}

interface Move {
  cell: CellName;
  topup: OwnedTopup;
  wallet: { accountId: bigint; cell: CellName };
}

/** Both accounts are locked in ascending order, as everywhere. @returns the recipient's balance after it */
async function moveCredit(db: Queryable, { cell, topup, wallet }: Move): Promise<bigint> {
  const { accountId, topupId, amountNanoUsd } = topup;

  async function capture(): Promise<void> {
    const [result] = await applyOperations(db, cell, [
      { kind: 'capture', accountId, id: topupId, amountNanoUsd },
    ]);
    assert(result, 'an operation has a result');
    if (!isDone(result.status)) throw new HoldLostError(result.status);
  }

  async function grant(): Promise<bigint> {
    const result = await addGrant(db, wallet.cell, {
      accountId: wallet.accountId,
      id: newId(),
      amountNanoUsd,
      source: 'paid',
      contra: CONTRA.revenue,
    });
    assert(isDone(result.status), `the recipient's wallet takes the credit: ${result.status}`);
    return result.availableNanoUsd;
  }

  if (accountId < wallet.accountId) {
    await capture();
    return grant();
  }
  const balance = await grant();
  await capture();
  return balance;
}
