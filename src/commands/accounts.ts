import { parseArgs } from 'node:util';
import type { Pool } from 'pg';
import { parseWalletId, type WalletId } from '../accounts/wallet-ids.ts';
import { link, REFUSALS } from '../accounts/wallet-links.ts';
import { requireSetting } from '../config/read.ts';
import { createPool } from '../db/pool.ts';
import { isText, MAX_ACTOR, MAX_REASON } from '../ledger/malformed.ts';
import { GatewayError } from '../lib/errors.ts';
import { carryOut, ORDERS_USAGE, readAccountOrder } from './account-orders.ts';
import { findAccountOwnerByName, namesAccount } from './account-owner.ts';
import { showAccount } from './account-view.ts';
import { EXIT, print } from './output.ts';

const USAGE = `usage: topup-gateway accounts show <account>
       topup-gateway accounts link <wallet> <wallet> --actor <who> --reason <why>
${ORDERS_USAGE}
An account is named by a wallet, by its customer's id or by its number. A wallet is a CAIP-10 account id, e.g.
eip155:8453:0x19e7… or solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:8qUL… Linked wallets are one customer with one balance.
Credit is never moved: two wallets that both have an account are not linked (exit 1).
exit codes: 0 done, or done before; 1 not done, and why; 2 the call is wrong
`;

/** `topup-gateway accounts …`: customers, the wallets that name them, and what an operator orders of their accounts. */
export async function accounts(args: string[]): Promise<void> {
  const work = readWork(args);
  if (!work) {
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
    process.exitCode = await work(pool);
  } finally {
    await pool.end();
  }
}

/** @returns what to do with the database, for an exit code; undefined when the call is wrong */
function readWork(args: string[]): ((pool: Pool) => Promise<number>) | undefined {
  if (args[0] === 'link') {
    const call = readLink(args);
    return call && (pool => linkTwo(pool, args, call));
  }
  if (args[0] === 'show') {
    const [name = '', ...rest] = args.slice(1).filter(arg => arg !== '--json');
    if (rest.length > 0 || !namesAccount(name)) return undefined;
    return async pool => {
      const owner = await findAccountOwnerByName(pool, name);
      return owner ? showAccount(pool, args, owner) : unknown(args);
    };
  }
  const order = readAccountOrder(args);
  if (!order || !namesAccount(order.account)) return undefined;
  return async pool => {
    const owner = await findAccountOwnerByName(pool, order.account);
    return owner ? carryOut(pool, args, order, owner) : unknown(args);
  };
}

function unknown(args: string[]): number {
  print(args, { outcome: 'unknown' }, 'this account was never seen');
  return EXIT.problem;
}

interface LinkCall {
  wallet: WalletId;
  other: WalletId;
  actor: string;
  reason: string;
}

function readLink(args: string[]): LinkCall | undefined {
  const text = { type: 'string' } as const;
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { actor: text, reason: text, json: { type: 'boolean' } },
    });
    const [, ...names] = positionals;
    const [wallet, other] = names.map(parseWalletId);
    const { actor, reason } = values;
    const isSigned = isText(actor, MAX_ACTOR) && isText(reason, MAX_REASON);
    return names.length === 2 && wallet && other && isSigned ? { wallet, other, actor, reason } : undefined;
  } catch {
    return undefined;
  }
}

async function linkTwo(pool: Pool, args: string[], call: LinkCall): Promise<number> {
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
