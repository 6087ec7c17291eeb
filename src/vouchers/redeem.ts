import type { Pool } from 'pg';
import { lockCustomer } from '../customers/customers.ts';
import { orUnavailable } from '../db/pg-errors.ts';
import { type CellName, cellName, type Queryable } from '../db/queryable.ts';
import { withTransaction } from '../db/transaction.ts';
import { openAccount } from '../ledger/accounts.ts';
import { applyOperations } from '../ledger/spending.ts';
import { isDone } from '../ledger/status.ts';
import { assert } from '../lib/assert.ts';
import { newId } from '../lib/ids.ts';
import type { Environment } from '../ports/environment.ts';
import { hashVoucherCode } from './codes.ts';
import { lockBoth, passCredit, type Wallet } from './move-credit.ts';

export type Redemption =
  | { kind: 'redeemed'; amountNanoUsd: bigint; availableNanoUsd: bigint; environment: Environment }
  | { kind: 'unknown_code' }
  | { kind: 'unknown_customer' }
  /** Wallets of recipients are what codes are redeemed from; nobody can spend what is in them. */
  | { kind: 'recipient' }
  /** A code of one environment is worth nothing in the other. */
  | { kind: 'wrong_environment' }
  /** The recipient has what it stands for already: the code is a receipt. */
  | { kind: 'delivered_outside' }
  | { kind: 'already_redeemed'; customerId: string; redeemedAt: Date };

export interface Vouchers {
  /** Turns a code into credit of a customer of any dialect, once. */
  redeem(code: string, customerId: string): Promise<Redemption>;
}

interface VoucherRow {
  environment: Environment;
  amount: string;
  promotional: string;
  wallet_account_id: string;
  wallet_cell: string;
  redeemed_at: Date | null;
  redeemed_customer_id: string | null;
  asked: boolean;
}

/** Redeems codes out of the recipients' wallets, where their credit has waited since the delivery. */
export function createVouchers(deps: { pool: Pool; cells: readonly CellName[] }): Vouchers {
  const { pool, cells } = deps;

  async function redeem(code: string, customerId: string): Promise<Redemption> {
    const codeHash = hashVoucherCode(code);
    if (!codeHash) return { kind: 'unknown_code' };
    for (const cell of cells) {
      const result = await redeemIn(cell, codeHash, customerId);
      if (result) return result;
    }
    return { kind: 'unknown_code' };
  }

  /** The row's lock makes a second redemption wait and then see the first. */
  function redeemIn(cell: CellName, codeHash: Buffer, customerId: string): Promise<Redemption | undefined> {
    return withTransaction(pool, async db => {
      const customer = await lockCustomer(db, customerId);
      if (!customer) return { kind: 'unknown_customer' };
      if (customer.isRecipient) return { kind: 'recipient' };
      const voucher = await lockVoucher(db, cell, codeHash);
      if (!voucher) return undefined;
      const { environment, redeemed_at: redeemedAt, redeemed_customer_id: redeemedBy } = voucher;
      if (redeemedAt && redeemedBy) return { kind: 'already_redeemed', customerId: redeemedBy, redeemedAt };
      if (voucher.asked) return { kind: 'delivered_outside' };
      if (environment !== customer.environment) return { kind: 'wrong_environment' };
      await openAccount(db, customer.cell, { accountId: customer.accountId, environment });
      const amountNanoUsd = BigInt(voucher.amount);
      const wallet = {
        accountId: BigInt(voucher.wallet_account_id),
        cell: cellName(voucher.wallet_cell),
      };
      const availableNanoUsd = await moveCredit(db, {
        wallet,
        customer,
        amountNanoUsd,
        promotionalNanoUsd: BigInt(voucher.promotional),
      });
      await db.query({
        name: `${cell}.mark_voucher_redeemed`,
        text: `UPDATE "${cell}".voucher SET redeemed_at = clock_timestamp(), redeemed_customer_id = $2
               WHERE code_hash = $1`,
        values: [codeHash, customerId],
      });
      return { kind: 'redeemed', amountNanoUsd, availableNanoUsd, environment };
    });
  }

  return { redeem: (code, customerId) => orUnavailable(redeem(code, customerId)) };
}

async function lockVoucher(db: Queryable, cell: CellName, codeHash: Buffer): Promise<VoucherRow | undefined> {
  const { rows } = await db.query<VoucherRow & Record<string, unknown>>({
    name: `${cell}.lock_voucher`,
    text: `SELECT v.environment, v.amount, v.promotional, v.wallet_account_id, v.wallet_cell, v.redeemed_at,
             v.redeemed_customer_id, t.asked
           FROM "${cell}".voucher v JOIN "${cell}".topup t USING (topup_id)
           WHERE v.code_hash = $1 FOR NO KEY UPDATE OF v`,
    values: [codeHash],
  });
  return rows[0];
}

/** From the recipient's wallet to the customer. @returns what the customer has then */
async function moveCredit(
  db: Queryable,
  move: { wallet: Wallet; customer: Wallet; amountNanoUsd: bigint; promotionalNanoUsd: bigint },
): Promise<bigint> {
  const { wallet, customer, amountNanoUsd } = move;
  await lockBoth(db, wallet, customer);
  const [debited] = await applyOperations(db, wallet.cell, [
    { kind: 'debit', accountId: wallet.accountId, id: newId(), amountNanoUsd },
  ]);
  assert(
    debited && isDone(debited.status),
    `the wallet holds what its vouchers are worth: ${debited?.status}`,
  );
  return passCredit(db, customer, move);
}
