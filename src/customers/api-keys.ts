import { cellName, type Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import { newId } from '../lib/ids.ts';
import type { Environment } from '../ports/environment.ts';
import { parseAddressRange } from './address-list.ts';
import { hashApiKey, type KeyDialect, mintApiKey } from './api-key-format.ts';
import type { Customer } from './customers.ts';

/** A key as its owner may see it: never the key itself. */
export interface ApiKey {
  keyId: string;
  dialect: KeyDialect;
  environment: Environment;
  /** The last four characters, to recognise it by. */
  lastFour: string;
  /** CIDRs; empty means that any address may use the key. */
  allowedAddresses: readonly string[];
  /** Nano-USD in a calendar month; undefined for no limit but the customer's credit. */
  spendingCapNanoUsd: bigint | undefined;
  createdAt: Date;
  expiresAt: Date | undefined;
  revokedAt: Date | undefined;
  /** Who of the operator's people made and ended it; undefined for what its owner did. */
  createdBy: string | undefined;
  revokedBy: string | undefined;
}

/** A key with the id of the customer that it acts for. */
export interface NamedApiKey extends ApiKey {
  customerId: string;
}

/** A key together with the customer that it acts for. */
export interface OwnedApiKey extends ApiKey {
  customer: Customer;
}

interface ApiKeyRow {
  key_id: string;
  dialect: KeyDialect;
  environment: Environment;
  last_four: string;
  allowed_addresses: string[];
  spending_cap: string | null;
  created_at: Date;
  expires_at: Date | null;
  revoked_at: Date | null;
  created_by: string | null;
  revoked_by: string | null;
}

const COLUMNS =
  'k.key_id, k.dialect, k.environment, k.last_four, k.allowed_addresses::text[], k.spending_cap, k.created_at, k.expires_at, k.revoked_at, k.created_by, k.revoked_by';

function toApiKey(row: ApiKeyRow): ApiKey {
  return {
    keyId: row.key_id,
    dialect: row.dialect,
    environment: row.environment,
    lastFour: row.last_four,
    allowedAddresses: row.allowed_addresses,
    spendingCapNanoUsd: row.spending_cap === null ? undefined : BigInt(row.spending_cap),
    createdAt: row.created_at,
    expiresAt: row.expires_at ?? undefined,
    revokedAt: row.revoked_at ?? undefined,
    createdBy: row.created_by ?? undefined,
    revokedBy: row.revoked_by ?? undefined,
  };
}

interface NamedApiKeyRow extends ApiKeyRow {
  customer_id: string;
}

const toNamedApiKey = (row: NamedApiKeyRow): NamedApiKey => ({
  ...toApiKey(row),
  customerId: row.customer_id,
});

export interface NewApiKey {
  dialect: KeyDialect;
  customerId: string;
  /** Must be the customer's own: the database refuses a key that crosses environments. */
  environment: Environment;
  /** Never when absent. */
  expiresAt?: Date;
  /** Addresses and CIDRs, at most 100; anybody when absent. */
  allowedAddresses?: readonly string[];
  /** A key that is known already, by its id; storing it again does nothing. Made up when absent. */
  known?: { keyId: string; apiKey: string };
  /** Nano-USD in a calendar month; no limit when absent. */
  spendingCapNanoUsd?: bigint;
  /** Who of the operator's people makes it, 1 to 200 characters; absent for its owner. */
  createdBy?: string;
}

/** Makes a key for a customer. @returns the key, which is not stored and cannot be shown again. */
export async function createApiKey(
  db: Queryable,
  key: NewApiKey,
): Promise<{ keyId: string; apiKey: string }> {
  const { allowedAddresses = [] } = key;
  assert(allowedAddresses.every(parseAddressRange), 'allowed addresses are addresses or CIDRs');
  const { keyId, apiKey } = key.known ?? {
    keyId: newId(),
    apiKey: mintApiKey(key.dialect, key.environment),
  };
  await db.query({
    name: 'directory.create_api_key',
    // network() clears what is not part of the network, which the type cidr would refuse.
    text: `INSERT INTO directory.api_key (key_hash, key_id, customer_id, environment, dialect, last_four,
             allowed_addresses, expires_at, spending_cap, created_by)
           SELECT $1, $2, $3, $4, $5, $6, ARRAY(SELECT network(a::inet) FROM unnest($7::text[]) a), $8, $9, $10
           ON CONFLICT DO NOTHING`,
    values: [
      hashApiKey(key.dialect, apiKey),
      keyId,
      key.customerId,
      key.environment,
      key.dialect,
      apiKey.slice(-4),
      allowedAddresses,
      key.expiresAt ?? null,
      key.spendingCapNanoUsd ?? null,
      key.createdBy ?? null,
    ],
  });
  return { keyId, apiKey };
}

/**
 * Finds a key by its hash, also one that has expired or is revoked: what it may still do is for the caller
 * to judge. Two rows by primary key, one round trip.
 */
export async function findApiKey(db: Queryable, keyHash: Buffer): Promise<OwnedApiKey | undefined> {
  const result = await db.query<OwnedApiKeyRow>({
    name: 'directory.find_api_key',
    text: `SELECT ${COLUMNS}, c.customer_id, c.account_id, c.cell
           FROM directory.api_key k JOIN directory.customer c ON c.customer_id = k.customer_id
           WHERE k.key_hash = $1`,
    values: [keyHash],
  });
  return result.rows[0] && toOwnedApiKey(result.rows[0]);
}

/** As {@link findApiKey}, for what was derived from a key and names it. */
export async function findApiKeyById(db: Queryable, keyId: string): Promise<OwnedApiKey | undefined> {
  const result = await db.query<OwnedApiKeyRow>({
    name: 'directory.find_api_key_by_id',
    text: `SELECT ${COLUMNS}, c.customer_id, c.account_id, c.cell
           FROM directory.api_key k JOIN directory.customer c ON c.customer_id = k.customer_id
           WHERE k.key_id = $1`,
    values: [keyId],
  });
  return result.rows[0] && toOwnedApiKey(result.rows[0]);
}

type OwnedApiKeyRow = ApiKeyRow & { customer_id: string; account_id: string; cell: string };

function toOwnedApiKey(row: OwnedApiKeyRow): OwnedApiKey {
  const customer = {
    customerId: row.customer_id,
    accountId: BigInt(row.account_id),
    cell: cellName(row.cell),
  };
  return { ...toApiKey(row), customer };
}

/**
 * Ends a key of this customer for good.
 * @returns false when the customer has no such key, or it was revoked before.
 */
export async function revokeApiKey(
  db: Queryable,
  { customerId, keyId }: { customerId: string; keyId: string },
): Promise<boolean> {
  const result = await db.query({
    name: 'directory.revoke_api_key',
    text: `UPDATE directory.api_key SET revoked_at = now()
           WHERE key_id = $1 AND customer_id = $2 AND revoked_at IS NULL`,
    values: [keyId, customerId],
  });
  return result.rowCount === 1;
}

const MAX_LIST = 100;

/** A key that its customer can use now, by what is needed to recognise it. */
export interface ActiveApiKey {
  keyId: string;
  keyHash: Buffer;
  lastFour: string;
}

/** The newest keys of a customer in one dialect that are neither revoked nor expired, newest first; at most 100. */
export async function listActiveApiKeys(
  db: Queryable,
  { customerId, dialect, now }: { customerId: string; dialect: KeyDialect; now: Date },
): Promise<ActiveApiKey[]> {
  const result = await db.query<{ key_id: string; key_hash: Buffer; last_four: string }>({
    name: 'directory.list_active_api_keys',
    text: `SELECT key_id, key_hash, last_four FROM directory.api_key
           WHERE customer_id = $1 AND dialect = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3)
           ORDER BY key_id DESC LIMIT $4`,
    values: [customerId, dialect, now, MAX_LIST],
  });
  return result.rows.map(row => ({ keyId: row.key_id, keyHash: row.key_hash, lastFour: row.last_four }));
}

/** Which keys are wanted; all that are left out are. */
export interface ApiKeyFilter {
  customerId?: string | undefined;
  dialect?: KeyDialect | undefined;
  environment?: Environment | undefined;
  /** Only those that are good at this moment. */
  usableAt?: Date | undefined;
}

/**
 * Keys, newest first.
 * @param page.before continue after the key with this id; `limit` is at most 100
 */
export async function listApiKeys(
  db: Queryable,
  filter: ApiKeyFilter,
  page: { limit?: number; before?: string | undefined } = {},
): Promise<NamedApiKey[]> {
  const result = await db.query<NamedApiKeyRow>({
    name: 'directory.list_api_keys',
    text: `SELECT ${COLUMNS}, k.customer_id FROM directory.api_key k
           WHERE ($1::uuid IS NULL OR k.customer_id = $1) AND ($2::text IS NULL OR k.dialect = $2)
             AND ($3::text IS NULL OR k.environment = $3) AND ($4::uuid IS NULL OR k.key_id < $4)
             AND ($5::timestamptz IS NULL OR (k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $5)))
           ORDER BY k.key_id DESC LIMIT $6`,
    values: [
      filter.customerId ?? null,
      filter.dialect ?? null,
      filter.environment ?? null,
      page.before ?? null,
      filter.usableAt ?? null,
      Math.min(page.limit ?? MAX_LIST, MAX_LIST),
    ],
  });
  return result.rows.map(toNamedApiKey);
}

/** A key of any customer, by its id. */
export async function findNamedApiKey(db: Queryable, keyId: string): Promise<NamedApiKey | undefined> {
  const result = await db.query<NamedApiKeyRow>({
    name: 'directory.find_named_api_key',
    text: `SELECT ${COLUMNS}, k.customer_id FROM directory.api_key k WHERE k.key_id = $1`,
    values: [keyId],
  });
  const [row] = result.rows;
  return row && toNamedApiKey(row);
}

/**
 * Ends a key of any customer for good, because the operator says so; one that has ended stays as it is.
 * @param order.actor who says so, 1 to 200 characters
 * @returns false when there is no such key, or it was revoked before
 */
export async function revokeAnyApiKey(
  db: Queryable,
  { keyId, actor }: { keyId: string; actor: string },
): Promise<boolean> {
  const result = await db.query({
    name: 'directory.revoke_any_api_key',
    text: `UPDATE directory.api_key SET revoked_at = now(), revoked_by = $2
           WHERE key_id = $1 AND revoked_at IS NULL`,
    values: [keyId, actor],
  });
  return result.rowCount === 1;
}
