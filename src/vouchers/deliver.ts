import type { Pool } from 'pg';
import { resolveRecipient } from '../customers/customers.ts';
import type { CellName, Queryable } from '../db/queryable.ts';
import { withTransaction } from '../db/transaction.ts';
import { openAccount } from '../ledger/accounts.ts';
import { readBalance } from '../ledger/balances.ts';
import { captureBySource } from '../ledger/capture-by-source.ts';
import { applyOperations } from '../ledger/spending.ts';
import { isDone, type LedgerStatus } from '../ledger/status.ts';
import { assert } from '../lib/assert.ts';
import type { Sealer } from '../lib/sealed.ts';
import { sealContext } from '../webhooks/events.ts';
import { hashVoucherCode, mintVoucherCode } from './codes.ts';
import { topupPayload } from './event-payload.ts';
import { lockBoth, passCredit, type Wallet } from './move-credit.ts';
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
    const { newBalanceNanoUsd, promotionalNanoUsd } = topup.isOutside
      ? await chargeOnly(db, cell, delivery, wallet)
      : await moveCredit(db, cell, topup, wallet);
    await db.query({
      name: `${cell}.deliver_topup`,
      text: `SELECT "${cell}".deliver_topup($1, $2, $3, $4, $5, $6, $7, $8)`,
      values: [
        topupId,
        voucher,
        hashVoucherCode(voucherCode),
        promotionalNanoUsd,
        newBalanceNanoUsd,
        wallet.accountId,
        wallet.cell,
        JSON.stringify(topupPayload(topup, { voucher: { $sealed: voucher }, newBalanceNanoUsd })),
      ],
    });
    return { voucherCode, newBalanceNanoUsd };
  });
}

interface Charged {
  newBalanceNanoUsd: bigint;
  /** How much of the code's worth nobody paid for. */
  promotionalNanoUsd: bigint;
}

/**
 * For what the recipient has already: it is charged for also when the hold has ended meanwhile. The balance is what
 * was said of it, else this on top of what is here.
 */
async function chargeOnly(
  db: Queryable,
  cell: CellName,
  { topup, newBalanceNanoUsd }: Delivery,
  wallet: Wallet,
): Promise<Charged> {
  const { accountId, topupId: id, amountNanoUsd } = topup;
  const [result] = await applyOperations(db, cell, [
    { kind: 'capture', accountId, id, amountNanoUsd, overage: 'write_off' },
  ]);
  assert(result, 'an operation has a result');
  if (!isDone(result.status)) throw new HoldLostError(result.status);
  if (newBalanceNanoUsd !== undefined) return { newBalanceNanoUsd, promotionalNanoUsd: 0n };
  const here = (await readBalance(db, wallet.cell, wallet.accountId))?.availableNanoUsd ?? 0n;
  return { newBalanceNanoUsd: here + amountNanoUsd, promotionalNanoUsd: 0n };
}

/** From the sender to the recipient's wallet. */
async function moveCredit(
  db: Queryable,
  cell: CellName,
  { accountId, topupId: id, amountNanoUsd }: OwnedTopup,
  wallet: Wallet,
): Promise<Charged> {
  await lockBoth(db, { cell, accountId }, wallet);
  const captured = await captureBySource(db, cell, { accountId, id, amountNanoUsd });
  if (!isDone(captured.status)) throw new HoldLostError(captured.status);
  const { promotionalNanoUsd } = captured;
  const newBalanceNanoUsd = await passCredit(db, wallet, { amountNanoUsd, promotionalNanoUsd });
  return { newBalanceNanoUsd, promotionalNanoUsd };
}
