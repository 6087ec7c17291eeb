import type { Pool } from 'pg';
import { type Customer, resolveRecipient } from '../customers/customers.ts';
import type { CellName, Queryable } from '../db/queryable.ts';
import { withTransaction } from '../db/transaction.ts';
import { openAccount } from '../ledger/accounts.ts';
import { readBalance } from '../ledger/balances.ts';
import { CONTRA } from '../ledger/chart.ts';
import { addGrant } from '../ledger/grants.ts';
import { applyOperations, type Overage } from '../ledger/spending.ts';
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

export interface Delivery {
  topup: OwnedTopup;
  /** The sender's customer, who is the recipient when no other is named. */
  owner: string;
  /** What the recipient has outside, where that is known. */
  newBalanceNanoUsd?: bigint | undefined;
}

/**
 * Charges the sender, credits the recipient's wallet of the platform, issues the code and notes the event, in
 * one transaction. What leaves one customer for another passes through `revenue` and out again, so nothing
 * is earned before somebody spends it. What was delivered outside is earned and leaves no credit here.
 * @returns undefined when the top-up is not pending any more
 * @throws HoldLostError
 */
export async function deliverTopup(
  pool: Pool,
  sealer: Sealer,
  cell: CellName,
  delivery: Delivery,
): Promise<Delivered | undefined> {
  const { topup, owner } = delivery;
  const { environment, platform, recipientEmail, topupId, transactionId } = topup;
  const value = `${platform}:${recipientEmail?.toLowerCase() ?? `customer:${owner}`}`;
  const wallet = await resolveRecipient(pool, { environment, value });
  await openAccount(pool, wallet.cell, { accountId: wallet.accountId, environment });
  const voucherCode = mintVoucherCode();
  const voucher = sealer.seal(voucherCode, sealContext(environment, transactionId));

  return withTransaction(pool, async db => {
    if (!(await lockPendingTopup(db, cell, topupId))) return undefined;
    const newBalanceNanoUsd = topup.isOutside
      ? await chargeOnly(db, cell, delivery, wallet)
      : await moveCredit(db, { cell, topup, wallet });
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

type Wallet = Pick<Customer, 'accountId' | 'cell'>;

async function capture(
  db: Queryable,
  cell: CellName,
  { accountId, topupId: id, amountNanoUsd }: OwnedTopup,
  overage: Overage,
): Promise<void> {
  const [result] = await applyOperations(db, cell, [
    { kind: 'capture', accountId, id, amountNanoUsd, overage },
  ]);
  assert(result, 'an operation has a result');
  if (!isDone(result.status)) throw new HoldLostError(result.status);
}

/**
 * For what the recipient has already: it is charged for also when the hold has ended meanwhile.
 * @returns what the recipient has as far as it is known: what was said, or this on top of what is here
 */
async function chargeOnly(
  db: Queryable,
  cell: CellName,
  { topup, newBalanceNanoUsd }: Delivery,
  wallet: Wallet,
): Promise<bigint> {
  await capture(db, cell, topup, 'write_off');
  if (newBalanceNanoUsd !== undefined) return newBalanceNanoUsd;
  const here = await readBalance(db, wallet.cell, wallet.accountId);
  return (here?.availableNanoUsd ?? 0n) + topup.amountNanoUsd;
}

interface Move {
  cell: CellName;
  topup: OwnedTopup;
  wallet: Wallet;
}

/** Both accounts are locked in ascending order, as everywhere. @returns the recipient's balance after it */
async function moveCredit(db: Queryable, { cell, topup, wallet }: Move): Promise<bigint> {
  const { accountId, amountNanoUsd } = topup;

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
    await capture(db, cell, topup, 'refuse');
    return grant();
  }
  const balance = await grant();
  await capture(db, cell, topup, 'refuse');
  return balance;
}
