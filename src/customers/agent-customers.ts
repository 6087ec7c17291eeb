import { violatesForeignKey } from '../db/pg-errors.ts';
import type { Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import { unavailable } from '../lib/errors.ts';
import { newId } from '../lib/ids.ts';
import type { Environment } from '../ports/environment.ts';
import { type Customer, type CustomerRow, resolveWallet, toCustomer, walletIdentity } from './customers.ts';

/** The wallet that pays for an agent. */
export interface AgentWallet {
  environment: Environment;
  /** CAIP-2. */
  network: string;
  address: string;
}

/**
 * The customer that is the agent of a wallet, with an account of its own beside the wallet's; undefined for a wallet
 * without one. Linked wallets have one agent.
 */
export async function findAgent(db: Queryable, wallet: AgentWallet): Promise<Customer | undefined> {
  const result = await db.query<CustomerRow>({
    name: 'directory.find_agent',
    text: `SELECT c.customer_id, c.account_id, c.cell
           FROM directory.customer_identity i JOIN directory.agent a ON a.owner_id = i.customer_id
           JOIN directory.customer c ON c.customer_id = a.customer_id
           WHERE i.environment = $1 AND i.kind = 'wallet' AND i.value = $2`,
    values: [wallet.environment, walletIdentity(wallet.network, wallet.address)],
  });
  const [row] = result.rows;
  return row && toCustomer(row);
}

/** As {@link findAgent}, by the customer whose wallets pay for it. */
export async function findAgentOf(db: Queryable, ownerId: string): Promise<Customer | undefined> {
  const result = await db.query<CustomerRow>({
    name: 'directory.find_agent_of',
    text: `SELECT c.customer_id, c.account_id, c.cell
           FROM directory.agent a JOIN directory.customer c ON c.customer_id = a.customer_id
           WHERE a.owner_id = $1`,
    values: [ownerId],
  });
  const [row] = result.rows;
  return row && toCustomer(row);
}

/**
 * As {@link findAgent}, and makes one; safe against any number of racing callers.
 * @throws GatewayError `unavailable` when the wallet was linked to another in this moment
 */
export async function resolveAgent(db: Queryable, wallet: AgentWallet): Promise<Customer> {
  const found = await findAgent(db, wallet);
  if (found) return found;
  const owner = await resolveWallet(db, wallet);
  const result = await db
    .query<CustomerRow>({
      name: 'directory.resolve_agent',
      text: 'SELECT customer_id, account_id, cell FROM directory.resolve_agent($1, $2, $3, $4)',
      values: [wallet.environment, owner.customerId, newId(), owner.cell],
    })
    .catch((error: unknown) => {
      throw violatesForeignKey(error) ? unavailable('the account', error) : error;
    });
  const [row] = result.rows;
  assert(row, 'resolve_agent answers one row');
  return toCustomer(row);
}
