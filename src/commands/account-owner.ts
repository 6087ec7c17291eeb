import { parseWalletId } from '../accounts/wallet-ids.ts';
import { type Customer, findOwner, findWallet } from '../customers/customers.ts';
import type { Queryable } from '../db/queryable.ts';
import { isPositiveAmount } from '../ledger/amounts.ts';
import { isId } from '../ledger/malformed.ts';
import type { Environment } from '../ports/environment.ts';

export type AccountOwner = Customer & { environment: Environment };

/** True for what names an account: a wallet, a customer's id or the account's number. */
export function namesAccount(name: string): boolean {
  return parseWalletId(name) !== undefined || isId(name.toLowerCase()) || toAccountId(name) !== undefined;
}

/** The customer that an operator means; undefined when there is none of that name. */
export async function findAccountOwnerByName(db: Queryable, name: string): Promise<AccountOwner | undefined> {
  const wallet = parseWalletId(name);
  if (wallet) {
    const customer = await findWallet(db, wallet);
    return customer && { ...customer, environment: wallet.environment };
  }
  const accountId = toAccountId(name);
  return findOwner(db, accountId === undefined ? { customerId: name.toLowerCase() } : { accountId });
}

function toAccountId(name: string): bigint | undefined {
  const accountId = /^\d{1,19}$/.test(name) ? BigInt(name) : undefined;
  return isPositiveAmount(accountId) ? accountId : undefined;
}
