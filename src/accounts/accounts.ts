import { type Customer, findWallet, walletIdentity } from '../customers/customers.ts';
import type { Queryable } from '../db/queryable.ts';
import { readBalance } from '../ledger/balances.ts';
import { listTransfers, type StatementLine } from '../ledger/statements.ts';
import { createShortMemory } from '../lib/short-memory.ts';
import type { Environment } from '../ports/environment.ts';
import type { Accounts, StatementRow } from './types.ts';

/** How long a wallet is believed to name its customer; only linking it with another wallet changes that. */
const MAX_AGE_MS = 1_000;
const MAX_REMEMBERED = 10_000;

/**
 * Credit as its owner sees it.
 * @param environmentOf which money a network carries
 */
export function createAccounts(
  db: Queryable,
  environmentOf: (network: string) => Environment,
): Accounts & { forgetAll(): void } {
  const memory = createShortMemory<Customer>({ maxAgeMs: MAX_AGE_MS, maxEntries: MAX_REMEMBERED });
  const find = (network: string, address: string) =>
    memory.recall(walletIdentity(network, address), () =>
      findWallet(db, { environment: environmentOf(network), network, address }),
    );

  return {
    forgetAll: memory.forgetAll,
    async walletBalance(network, wallet) {
      const customer = await find(network, wallet);
      const balance = customer && (await readBalance(db, customer.cell, customer.accountId));
      return { availableNanoUsd: balance?.availableNanoUsd ?? 0n };
    },
    async walletStatement(network, wallet, page) {
      const customer = await find(network, wallet);
      if (!customer) return { balanceNanoUsd: 0n, rows: [], hasMore: false };
      const [balance, transfers] = await Promise.all([
        readBalance(db, customer.cell, customer.accountId),
        listTransfers(db, customer.cell, customer.accountId, page),
      ]);
      const rows = transfers.transfers.map(line => ({
        id: line.id,
        amountNanoUsd: line.amountNanoUsd,
        balanceAfterNanoUsd: line.balanceAfterNanoUsd,
        kind: kindOf(line),
        createdAt: line.createdAt,
        requestId: null,
        modelId: null,
      }));
      return { balanceNanoUsd: balance?.availableNanoUsd ?? 0n, rows, hasMore: transfers.hasMore };
    },
  };
}

/** What a line is to the customer; corrections by an operator read as what they do to the balance. */
function kindOf({ code, amountNanoUsd }: StatementLine): StatementRow['kind'] {
  if (code === 'refund') return 'refund';
  return amountNanoUsd < 0n ? 'charge' : 'topup';
}
