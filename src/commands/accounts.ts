import { parseArgs } from 'node:util';
import type { Pool } from 'pg';
import { parseWalletId, type WalletId } from '../accounts/wallet-ids.ts';
import { link, REFUSALS } from '../accounts/wallet-links.ts';
import { requireSetting } from '../config/read.ts';
import { findAgent } from '../customers/agent-customers.ts';
import { listIdentities } from '../customers/customer-links.ts';
import { findWallet } from '../customers/customers.ts';
import { createPool } from '../db/pool.ts';
import { readBalance } from '../ledger/balances.ts';
import { GatewayError } from '../lib/errors.ts';
import { formatUsd } from '../lib/money.ts';
import { formatAgentId } from '../subscriptions/agent-id.ts';
import { EXIT, print, table } from './output.ts';

const USAGE = `usage: topup-gateway accounts show <wallet>
       topup-gateway accounts link <wallet> <wallet> --actor <who> --reason <why>

A wallet is a CAIP-10 account id, e.g. eip155:8453:0x19e7… or solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:8qUL…
Linked wallets are one customer with one balance. Credit is never moved: two wallets that both have an account
are not linked (exit 1).
`;

/** `topup-gateway accounts show|link`: customers and the wallets that name them. */
export async function accounts(args: string[]): Promise<void> {
  const call = readCall(args);
  if (!call) {
    process.stderr.write(USAGE);
    process.exitCode = EXIT.usage;
    return;
  }
  const pool = createPool({
    databaseUrl: requireSetting('DATABASE_URL', process.env),
    maxConnections: 1,
    onError: () => undefined,
  });
  try {
    process.exitCode = call.other
      ? await linkTwo(pool, args, { ...call, other: call.other })
      : await show(pool, args, call.wallet);
  } finally {
    await pool.end();
  }
}

interface Call {
  wallet: WalletId;
  other: WalletId | undefined;
  actor: string;
  reason: string;
}

function readCall(args: string[]): Call | undefined {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { actor: text, reason: text, json: flag },
    });
    const [command, ...names] = positionals;
    const [wallet, other] = names.map(parseWalletId);
    const { actor = '', reason = '' } = values;
    if (!wallet) return undefined;
    if (command === 'show' && names.length === 1) return { wallet, other: undefined, actor, reason };
    const isSigned = actor.length > 0 && actor.length <= 200 && reason.length > 0 && reason.length <= 500;
    return command === 'link' && names.length === 2 && other && isSigned
      ? { wallet, other, actor, reason }
      : undefined;
  } catch {
    return undefined;
  }
}

async function linkTwo(pool: Pool, args: string[], call: Call & { other: WalletId }): Promise<number> {
  const { wallet, other, actor, reason } = call;
  try {
    const outcome = await link(pool, wallet, other, { actor, reason });
    if (outcome.kind === 'both_in_use' || outcome.kind === 'too_many') {
      print(args, { outcome: outcome.kind }, `not linked: ${REFUSALS[outcome.kind]}`);
      return EXIT.problem;
    }
    const { customer, identities, kind } = outcome;
    const words = kind === 'linked' ? 'linked' : 'linked before';
    print(
      args,
      { outcome: kind, customerId: customer.customerId, wallets: identities },
      `${words}, customer ${customer.customerId}\n${identities.join('\n')}`,
    );
    return EXIT.good;
  } catch (error) {
    if (!(error instanceof GatewayError) || error.code !== 'malformed_request') throw error;
    print(args, { outcome: 'refused', reason: error.message }, `not linked: ${error.message}`);
    return EXIT.problem;
  }
}

async function show(pool: Pool, args: string[], wallet: WalletId): Promise<number> {
  const customer = await findWallet(pool, wallet);
  if (!customer) {
    print(args, { outcome: 'unknown' }, 'this wallet was never seen');
    return EXIT.problem;
  }
  const balance = await readBalance(pool, customer.cell, customer.accountId);
  const wallets = await listIdentities(pool, customer);
  const available = formatUsd(balance?.availableNanoUsd ?? 0n);
  const agentCustomer = await findAgent(pool, wallet);
  const agent = agentCustomer && {
    agentId: formatAgentId(agentCustomer.customerId),
    accountId: agentCustomer.accountId,
    availableUsd: formatUsd(
      (await readBalance(pool, agentCustomer.cell, agentCustomer.accountId))?.availableNanoUsd ?? 0n,
    ),
  };
  const { customerId, accountId, cell } = customer;
  print(
    args,
    { customerId, accountId, cell, environment: wallet.environment, availableUsd: available, wallets, agent },
    table(
      ['customer', 'account', 'environment', 'available USD', 'wallet'],
      [
        ...wallets.map((each, index) =>
          index === 0 ? [customerId, accountId, wallet.environment, available, each] : ['', '', '', '', each],
        ),
        ...(agent ? [['', agent.accountId, '', agent.availableUsd, agent.agentId]] : []),
      ],
    ),
  );
  return EXIT.good;
}
