import { type CellName, cellName, type Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import { newId } from '../lib/ids.ts';
import type { Environment } from '../ports/environment.ts';

/** A customer and where its ledger account lives: in the cell that the directory chose when it was new. */
export interface Customer {
  customerId: string;
  accountId: bigint;
  cell: CellName;
}

/** A row of the customer table, as statements of this folder read it. */
export interface CustomerRow {
  customer_id: string;
  account_id: string;
  cell: string;
}

export const toCustomer = (row: CustomerRow): Customer => ({
  customerId: row.customer_id,
  accountId: BigInt(row.account_id),
  cell: cellName(row.cell),
});

/**
 * A wallet's CAIP-10 account id in canonical form. The network is part of the identity: the same address on
 * another chain can be a contract that somebody else controls.
 */
export function walletIdentity(network: string, wallet: string): string {
  return `${network}:${network.startsWith('eip155:') ? wallet.toLowerCase() : wallet}`;
}

/** Finds the customer that a wallet belongs to, or makes one; safe against any number of racing callers. */
export function resolveWallet(
  db: Queryable,
  { environment, network, address }: { environment: Environment; network: string; address: string },
): Promise<Customer> {
  return resolveIdentity(db, { environment, kind: 'wallet', value: walletIdentity(network, address) });
}

/** As {@link resolveWallet}, for any kind of name in its canonical form. */
export async function resolveIdentity(
  db: Queryable,
  identity: { environment: Environment; kind: 'wallet'; value: string },
): Promise<Customer> {
  const result = await db.query<CustomerRow>({
    name: 'directory.resolve_customer',
    text: 'SELECT customer_id, account_id, cell FROM directory.resolve_customer($1, $2, $3, $4, NULL)',
    values: [identity.environment, identity.kind, identity.value, newId()],
  });
  const [row] = result.rows;
  assert(row, 'resolve_customer answers one row');
  return toCustomer(row);
}

/** Finds the wallet of somebody who is sent a top-up, or makes one; safe against any number of racing callers. */
export async function resolveRecipient(
  db: Queryable,
  recipient: { environment: Environment; value: string },
): Promise<Customer> {
  const result = await db.query<CustomerRow>({
    name: 'directory.resolve_customer',
    text: 'SELECT customer_id, account_id, cell FROM directory.resolve_customer($1, $2, $3, $4, NULL)',
    values: [recipient.environment, 'recipient', recipient.value, newId()],
  });
  const [row] = result.rows;
  assert(row, 'resolve_customer answers one row');
  return toCustomer(row);
}

/** The customer that an account belongs to. */
export async function findAccountOwner(db: Queryable, accountId: bigint): Promise<string | undefined> {
  const { rows } = await db.query<{ customer_id: string }>({
    name: 'directory.find_account_owner',
    text: 'SELECT customer_id FROM directory.customer WHERE account_id = $1',
    values: [accountId],
  });
  return rows[0]?.customer_id;
}

/** Makes a customer that no wallet names: it is known by the keys that are made for it. */
export async function createCustomer(db: Queryable, environment: Environment): Promise<Customer> {
  const result = await db.query<CustomerRow>({
    name: 'directory.create_customer',
    text: `INSERT INTO directory.customer (customer_id, environment) VALUES ($1, $2)
           RETURNING customer_id, account_id, cell`,
    values: [newId(), environment],
  });
  const [row] = result.rows;
  assert(row, 'an insert answers its row');
  return toCustomer(row);
}

/** The customer of an id; undefined when the environment has none. */
export async function findCustomer(
  db: Queryable,
  { customerId, environment }: { customerId: string; environment: Environment },
): Promise<Customer | undefined> {
  const result = await db.query<CustomerRow>({
    name: 'directory.find_customer_by_id',
    text: `SELECT customer_id, account_id, cell FROM directory.customer
           WHERE customer_id = $1 AND environment = $2`,
    values: [customerId, environment],
  });
  const [row] = result.rows;
  return row && toCustomer(row);
}

/** A customer by its id, in whichever environment. */
export interface LockedCustomer extends Customer {
  environment: Environment;
  /** Whether it is the wallet of somebody who was sent top-ups, which nobody can spend from. */
  isRecipient: boolean;
}

/** Finds a customer, which cannot be linked away until the end of the transaction. */
export async function lockCustomer(db: Queryable, customerId: string): Promise<LockedCustomer | undefined> {
  const { rows } = await db.query<CustomerRow & { environment: Environment; is_recipient: boolean }>({
    name: 'directory.lock_customer',
    text: `SELECT c.customer_id, c.account_id, c.cell, c.environment, EXISTS (
             SELECT FROM directory.customer_identity i
             WHERE i.customer_id = c.customer_id AND i.kind = 'recipient') AS is_recipient
           FROM directory.customer c WHERE c.customer_id = $1 FOR KEY SHARE OF c`,
    values: [customerId],
  });
  const [row] = rows;
  return row && { ...toCustomer(row), environment: row.environment, isRecipient: row.is_recipient };
}

/** The customer of an id or of an account, in whichever environment; for an operator, who knows both. */
export async function findOwner(
  db: Queryable,
  name: { customerId: string } | { accountId: bigint },
): Promise<(Customer & { environment: Environment }) | undefined> {
  const isId = 'customerId' in name;
  const { rows } = await db.query<CustomerRow & { environment: Environment }>({
    name: isId ? 'directory.find_owner_by_customer' : 'directory.find_owner_by_account',
    text: `SELECT customer_id, account_id, cell, environment FROM directory.customer
           WHERE ${isId ? 'customer_id' : 'account_id'} = $1`,
    values: [isId ? name.customerId : name.accountId],
  });
  const [row] = rows;
  return row && { ...toCustomer(row), environment: row.environment };
}

/** The customer that a wallet belongs to; undefined for a wallet never seen. */
export async function findWallet(
  db: Queryable,
  wallet: { environment: Environment; network: string; address: string },
): Promise<Customer | undefined> {
  const result = await db.query<CustomerRow>({
    name: 'directory.find_customer',
    text: `SELECT c.customer_id, c.account_id, c.cell
           FROM directory.customer_identity i JOIN directory.customer c ON c.customer_id = i.customer_id
           WHERE i.environment = $1 AND i.kind = $2 AND i.value = $3`,
    values: [wallet.environment, 'wallet', walletIdentity(wallet.network, wallet.address)],
  });
  const [row] = result.rows;
  return row && toCustomer(row);
}
