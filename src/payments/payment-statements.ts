import type { CellName, Queryable } from '../db/queryable.ts';
import { shareStatements } from '../db/shared-statements.ts';
import {
  asLostAccount,
  claimWalletPayments,
  findClaims,
  type PaymentClaim,
  type WalletClaim,
} from './payment-claim.ts';
import { type Credit, creditPayments, type NewCredit } from './payment-credit.ts';
import { type NewPayment, type Opening, openPayments } from './payment-opening.ts';

/** What every payment asks of the database, each time in one statement with the payments that ask at the same moment. */
export interface PaymentStatements {
  findClaim(identity: string): Promise<PaymentClaim | undefined>;
  claimForWallet(claim: WalletClaim): Promise<PaymentClaim & { owner: bigint }>;
  open(cell: CellName, payment: NewPayment): Promise<Opening>;
  credit(cell: CellName, credit: NewCredit): Promise<Credit>;
}

/** @param db a pool: each statement is a transaction of its own, and those of one kind use a few connections at once */
export function createPaymentStatements(db: Queryable): PaymentStatements {
  const open = perCell(cell => shareStatements<NewPayment, Opening>(items => openPayments(db, cell, items)));
  const credit = perCell(cell =>
    shareStatements<NewCredit, Credit>(items => creditPayments(db, cell, items)),
  );
  const claim = shareStatements((claims: readonly WalletClaim[]) => claimWalletPayments(db, claims));
  return {
    findClaim: shareStatements(identities => findClaims(db, identities)),
    claimForWallet: wallet =>
      claim(wallet).catch((error: unknown) => {
        throw asLostAccount(error);
      }),
    open: (cell, payment) => open(cell)(payment),
    credit: (cell, order) => credit(cell)(order),
  };
}

/** A deployment has a few cells; each has a database of its own, perhaps. */
function perCell<T>(make: (cell: CellName) => T): (cell: CellName) => T {
  const made = new Map<CellName, T>();
  return cell => {
    const known = made.get(cell) ?? make(cell);
    made.set(cell, known);
    return known;
  };
}
