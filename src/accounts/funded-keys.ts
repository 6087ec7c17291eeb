import { parseAddressRange } from '../customers/address-list.ts';
import type { KeyDialect } from '../customers/api-key-format.ts';
import { createApiKey } from '../customers/api-keys.ts';
import { createCustomer } from '../customers/customers.ts';
import type { Queryable } from '../db/queryable.ts';
import { openAccount } from '../ledger/accounts.ts';
import { CONTRA } from '../ledger/chart.ts';
import { addGrant } from '../ledger/grants.ts';
import { isDone } from '../ledger/status.ts';
import { assert } from '../lib/assert.ts';
import { GatewayError } from '../lib/errors.ts';
import { newId } from '../lib/ids.ts';
import { NANO_PER_USD } from '../lib/money.ts';
import type { Environment } from '../ports/environment.ts';

/** A key of a new customer, with credit that nobody paid for. */
export interface FundedKeyOrder {
  dialect: KeyDialect;
  environment: Environment;
  /** Zero for an empty account; what the dialect's accounts open with when absent. */
  balanceNanoUsd?: bigint | undefined;
  /** Nano-USD in a calendar month; no limit when absent. */
  spendingCapNanoUsd?: bigint | undefined;
  /** Addresses and CIDRs; anybody when absent. */
  allowedAddresses?: readonly string[] | undefined;
}

/** A staging wallet of aitopup opens with $1,000 of credit that is worth nothing outside. */
function openingBalance(dialect: KeyDialect, environment: Environment): bigint {
  return dialect === 'aitopup' && environment === 'test' ? 1_000n * NANO_PER_USD : 0n;
}

export interface FundedKey {
  apiKey: string;
  customerId: string;
  environment: Environment;
}

/**
 * Makes a customer, its account with promotional credit, and its key, in this order: what fails on the way
 * leaves credit that nobody can reach and never a key without its credit.
 * @throws GatewayError `malformed_request` for an address that is none
 */
export async function createFundedKey(db: Queryable, order: FundedKeyOrder): Promise<FundedKey> {
  const { dialect, environment, spendingCapNanoUsd, allowedAddresses } = order;
  const odd = allowedAddresses?.find(range => !parseAddressRange(range));
  if (odd !== undefined) {
    throw new GatewayError('malformed_request', `${JSON.stringify(odd)} is neither an address nor a CIDR`);
  }
  const balanceNanoUsd = order.balanceNanoUsd ?? openingBalance(dialect, environment);
  const { customerId, accountId, cell } = await createCustomer(db, environment);
  await openAccount(db, cell, { accountId, environment });
  if (balanceNanoUsd > 0n) {
    const granted = await addGrant(db, cell, {
      accountId,
      id: newId(),
      amountNanoUsd: balanceNanoUsd,
      source: 'promotional',
      contra: CONTRA.granted,
    });
    assert(isDone(granted.status), `the ledger takes the grant: ${granted.status}`);
  }
  const { apiKey } = await createApiKey(db, {
    dialect,
    environment,
    customerId,
    ...(spendingCapNanoUsd !== undefined && { spendingCapNanoUsd }),
    ...(allowedAddresses && { allowedAddresses }),
  });
  return { apiKey, customerId, environment };
}
