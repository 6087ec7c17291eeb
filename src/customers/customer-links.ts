import type { Pool } from 'pg';
import { isRetryable, violatesForeignKey } from '../db/pg-errors.ts';
import { cellName, type Queryable } from '../db/queryable.ts';
import { withTransaction } from '../db/transaction.ts';
import { newId } from '../lib/ids.ts';
import type { Environment } from '../ports/environment.ts';
import { type Customer, resolveIdentity } from './customers.ts';

export interface WalletLink {
  environment: Environment;
  /** Canonical CAIP-10 account ids of two different wallets. */
  first: string;
  second: string;
  /** Who asks for it, 1 to 200 characters. */
  actor: string;
  /** 1 to 500 characters. */
  reason: string;
}

export type LinkOutcome =
  | { kind: 'linked'; customer: Customer; identities: string[] }
  /** They belonged to one customer before. */
  | { kind: 'already_linked'; customer: Customer; identities: string[] }
  /** Both customers have, had or are getting money, or own what cannot change hands. */
  | { kind: 'both_in_use' }
  | { kind: 'too_many' };

/** Whether the ledger knows a customer's account, which it does from the first money on. */
export type HasAccount = (db: Queryable, customer: Customer) => Promise<boolean>;

/** More wallets than anybody has; it bounds every list of them. */
const MAX_IDENTITIES = 20;
const MAX_ATTEMPTS = 3;

class LinkRefusal extends Error {
  constructor(readonly outcome: Extract<LinkOutcome, { kind: 'both_in_use' | 'too_many' }>) {
    super(outcome.kind);
  }
}

/** Somebody else changed the same wallets in between. */
class LostRace extends Error {}

/**
 * Makes two wallets name one customer. Money never moves for it: a customer whose account was ever opened stays
 * what it is, the other one is deleted and its names and keys go over. When both have an account, nothing happens.
 */
export async function linkWallets(
  pool: Pool,
  link: WalletLink,
  hasAccount: HasAccount,
): Promise<LinkOutcome> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await withTransaction(pool, db => linkOnce(db, link, hasAccount));
    } catch (error) {
      if (error instanceof LinkRefusal) return error.outcome;
      // A payment, an endpoint or anything else of the customer that would have gone.
      if (violatesForeignKey(error)) return { kind: 'both_in_use' };
      if (attempt >= MAX_ATTEMPTS || !(error instanceof LostRace || isRetryable(error))) throw error;
    }
  }
}

async function linkOnce(db: Queryable, link: WalletLink, hasAccount: HasAccount): Promise<LinkOutcome> {
  const { environment, first, second } = link;
  const owners = await lockOwners(db, environment, [first, second]);
  const [one, other] = [owners.get(first), owners.get(second)];
  if (one && one.customerId === other?.customerId) {
    return { kind: 'already_linked', customer: one, identities: await listIdentities(db, one) };
  }
  let customer: Customer;
  let removed: Customer | undefined;
  if (one && other) {
    const [isOneUsed, isOtherUsed] = [await hasAccount(db, one), await hasAccount(db, other)];
    // An agent has an account of its own, and goes over with it; there cannot be two.
    const haveAgents = (await countAgents(db, [one, other])) === 2;
    if ((isOneUsed && isOtherUsed) || haveAgents) throw new LinkRefusal({ kind: 'both_in_use' });
    [customer, removed] = isOtherUsed ? [other, one] : [one, other];
    await handOver(db, { from: removed, to: customer });
  } else {
    customer = one ?? other ?? (await resolveIdentity(db, { environment, kind: 'wallet', value: first }));
    await addIdentity(db, environment, one ? second : other ? first : second, customer);
  }
  const identities = await listIdentities(db, customer);
  if (identities.length > MAX_IDENTITIES) throw new LinkRefusal({ kind: 'too_many' });
  await recordLink(db, link, customer, removed);
  return { kind: 'linked', customer, identities };
}

interface OwnerRow {
  value: string;
  customer_id: string;
  account_id: string;
  cell: string;
}

/** The customers that wallets name, locked in one order until the end of the transaction. */
async function lockOwners(
  db: Queryable,
  environment: Environment,
  values: string[],
): Promise<Map<string, Customer>> {
  const result = await db.query<OwnerRow>({
    name: 'directory.lock_owners',
    text: `SELECT i.value, c.customer_id, c.account_id, c.cell
           FROM directory.customer_identity i JOIN directory.customer c ON c.customer_id = i.customer_id
           WHERE i.environment = $1 AND i.kind = 'wallet' AND i.value = ANY ($2)
           ORDER BY c.customer_id FOR UPDATE OF c, i`,
    values: [environment, values],
  });
  return new Map(
    result.rows.map(row => [
      row.value,
      { customerId: row.customer_id, accountId: BigInt(row.account_id), cell: cellName(row.cell) },
    ]),
  );
}

async function addIdentity(
  db: Queryable,
  environment: Environment,
  value: string,
  { customerId }: Customer,
): Promise<void> {
  const result = await db.query({
    name: 'directory.add_identity',
    text: `INSERT INTO directory.customer_identity (environment, kind, value, customer_id)
           VALUES ($1, 'wallet', $2, $3) ON CONFLICT DO NOTHING`,
    values: [environment, value, customerId],
  });
  if (result.rowCount !== 1) throw new LostRace();
}

async function countAgents(db: Queryable, owners: readonly Customer[]): Promise<number> {
  const result = await db.query<{ count: number }>({
    name: 'directory.count_agents',
    text: 'SELECT count(*)::int AS count FROM directory.agent WHERE owner_id = ANY ($1)',
    values: [owners.map(({ customerId }) => customerId)],
  });
  return result.rows[0]?.count ?? 0;
}

/** Gives names, keys, messages and the agent to another customer of the same environment, and deletes the one that is left. */
async function handOver(db: Queryable, { from, to }: { from: Customer; to: Customer }): Promise<void> {
  for (const table of ['customer_identity', 'api_key', 'channel_message']) {
    await db.query({
      name: `directory.hand_over_${table}`,
      text: `UPDATE directory.${table} SET customer_id = $2 WHERE customer_id = $1`,
      values: [from.customerId, to.customerId],
    });
  }
  await db.query({
    name: 'directory.hand_over_agent',
    text: 'UPDATE directory.agent SET owner_id = $2 WHERE owner_id = $1',
    values: [from.customerId, to.customerId],
  });
  await db.query({
    name: 'directory.delete_customer',
    text: 'DELETE FROM directory.customer WHERE customer_id = $1',
    values: [from.customerId],
  });
}

/** A customer's wallets as CAIP-10 account ids, the oldest first. */
export async function listIdentities(db: Queryable, { customerId }: Customer): Promise<string[]> {
  const result = await db.query<{ value: string }>({
    name: 'directory.list_identities',
    text: `SELECT value FROM directory.customer_identity WHERE customer_id = $1 AND kind = 'wallet'
           ORDER BY created_at, value LIMIT $2`,
    values: [customerId, MAX_IDENTITIES + 1],
  });
  return result.rows.map(row => row.value);
}

async function recordLink(
  db: Queryable,
  { environment, first, second, actor, reason }: WalletLink,
  customer: Customer,
  removed: Customer | undefined,
): Promise<void> {
  await db.query({
    name: 'directory.record_link',
    text: `INSERT INTO directory.customer_link (link_id, environment, customer_id, first_value, second_value,
             removed_customer_id, removed_account_id, actor, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
    values: [
      newId(),
      environment,
      customer.customerId,
      first,
      second,
      removed?.customerId ?? null,
      removed?.accountId ?? null,
      actor,
      reason,
    ],
  });
}
