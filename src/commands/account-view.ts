import { findAgentOf } from '../customers/agent-customers.ts';
import { listIdentities } from '../customers/customer-links.ts';
import type { Queryable } from '../db/queryable.ts';
import { type Balance, listGrants, readBalance } from '../ledger/balances.ts';
import { contraName } from '../ledger/chart.ts';
import { listTransfers } from '../ledger/statements.ts';
import { formatUsd } from '../lib/money.ts';
import { formatAgentId } from '../subscriptions/agent-id.ts';
import type { AccountOwner } from './account-owner.ts';
import { EXIT, print, table } from './output.ts';

/** What an operator needs to see before an order: the newest are those that orders are about. */
const SHOWN = 20;

/** Prints an account: its owner's wallets, its balance, the grants that have credit and its newest transfers. */
export async function showAccount(
  db: Queryable,
  args: readonly string[],
  owner: AccountOwner,
): Promise<number> {
  const { customerId, accountId, cell, environment } = owner;
  const balance = await readBalance(db, cell, accountId);
  const wallets = await listIdentities(db, owner);
  const grants = balance ? await listGrants(db, cell, accountId, { limit: SHOWN }) : [];
  const { transfers } = balance
    ? await listTransfers(db, cell, accountId, { limit: SHOWN, includeZeroAmounts: true })
    : { transfers: [] };
  const shown = {
    customerId,
    accountId,
    cell,
    environment,
    ...describeBalance(balance),
    wallets,
    agent: await describeAgent(db, owner),
    grants: grants.map(grant => ({
      id: grant.id,
      source: grant.source,
      amountUsd: formatUsd(grant.amountNanoUsd),
      remainingUsd: formatUsd(grant.remainingNanoUsd),
      expiresAt: grant.expiresAt,
    })),
    transfers: transfers.map(line => ({
      id: line.id,
      at: line.createdAt,
      code: line.code,
      against: contraName(line.contra),
      amountUsd: formatUsd(line.amountNanoUsd),
      balanceAfterUsd: formatUsd(line.balanceAfterNanoUsd),
    })),
  };
  print(args, shown, describe(shown));
  return EXIT.good;
}

/** The agent that the customer's wallets pay for, which has an account of its own. */
async function describeAgent(db: Queryable, { customerId }: AccountOwner) {
  const agent = await findAgentOf(db, customerId);
  if (!agent) return undefined;
  const balance = await readBalance(db, agent.cell, agent.accountId);
  return {
    agentId: formatAgentId(agent.customerId),
    accountId: agent.accountId,
    availableUsd: formatUsd(balance?.availableNanoUsd ?? 0n),
  };
}

function describeBalance(balance: Balance | undefined) {
  return {
    frozen: balance?.frozen ?? false,
    availableUsd: formatUsd(balance?.availableNanoUsd ?? 0n),
    postedUsd: formatUsd(balance?.postedNanoUsd ?? 0n),
    heldUsd: formatUsd(balance?.heldNanoUsd ?? 0n),
    creditLineUsd: formatUsd(balance?.creditLineNanoUsd ?? 0n),
  };
}

interface Shown extends ReturnType<typeof describeBalance> {
  customerId: string;
  accountId: bigint;
  cell: string;
  environment: string;
  wallets: readonly string[];
  agent: Awaited<ReturnType<typeof describeAgent>>;
  grants: readonly { id: string; source: string; remainingUsd: string; expiresAt: Date | null }[];
  transfers: readonly { id: string; at: Date; code: string; amountUsd: string; balanceAfterUsd: string }[];
}

function describe(shown: Shown): string {
  const parts = [
    table(
      [
        'customer',
        'account',
        'cell',
        'environment',
        'state',
        'available USD',
        'posted',
        'held',
        'credit line',
      ],
      [
        [
          shown.customerId,
          shown.accountId,
          shown.cell,
          shown.environment,
          shown.frozen ? 'FROZEN' : 'open',
          shown.availableUsd,
          shown.postedUsd,
          shown.heldUsd,
          shown.creditLineUsd,
        ],
      ],
    ),
    table(
      ['wallet'],
      shown.wallets.map(wallet => [wallet]),
    ),
    table(
      ['agent', 'account', 'available USD'],
      shown.agent ? [[shown.agent.agentId, shown.agent.accountId, shown.agent.availableUsd]] : [],
    ),
    table(
      ['grant', 'source', 'remaining USD', 'ends'],
      shown.grants.map(g => [g.id, g.source, g.remainingUsd, g.expiresAt?.toISOString() ?? 'never']),
    ),
    table(
      ['transfer', 'at', 'what', 'USD', 'balance after'],
      shown.transfers.map(t => [t.id, t.at.toISOString(), t.code, t.amountUsd, t.balanceAfterUsd]),
    ),
  ];
  return parts.join('\n\n');
}
