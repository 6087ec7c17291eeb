import {
  createApiKey,
  findNamedApiKey,
  listApiKeys,
  type NamedApiKey,
  revokeAnyApiKey,
} from '../customers/api-keys.ts';
import {
  type Customer,
  createCustomer,
  findCustomer,
  findWallet,
  resolveWallet,
} from '../customers/customers.ts';
import { orUnavailable } from '../db/pg-errors.ts';
import type { Queryable } from '../db/queryable.ts';
import { assert } from '../lib/assert.ts';
import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Environment } from '../ports/environment.ts';
import {
  malformed,
  readActor,
  readAddresses,
  readCap,
  readDialect,
  readEnvironment,
  readExpiry,
  readId,
  readWallet,
} from './key-orders.ts';

/** A key as the operator sees it. */
export interface KeyView extends NamedApiKey {
  state: 'usable' | 'expired' | 'revoked';
}

/** Whose keys, as the operator writes it: at most one of the two. */
interface OwnerName {
  customerId?: string | undefined;
  /** CAIP-10 account id. */
  wallet?: string | undefined;
}

/** A key that the operator wants made, as written. */
export interface KeyOrder extends OwnerName {
  dialect: string;
  /** The wallet's where one is named, else live. */
  environment?: string | undefined;
  /** ISO 8601 with a time zone; never when absent. */
  expiresAt?: string | undefined;
  /** Decimal US dollars in a calendar month; no limit when absent. */
  capUsd?: string | undefined;
  /** Addresses and CIDRs; anybody when absent. */
  allowedAddresses?: readonly string[] | undefined;
  /** Who asks for it. */
  actor: string;
}

/** Keys that the operator wants to see, as written. */
export interface KeyQuery extends OwnerName {
  dialect?: string | undefined;
  environment?: string | undefined;
  /** Leave out what has expired or was revoked. */
  usable?: boolean | undefined;
  limit: number;
  /** Continue after the key of this id. */
  before?: string | undefined;
}

/** Keys of every dialect in the operator's hand. */
export interface KeyAdmin {
  /**
   * Makes a key for a customer, for the customer of a wallet, or for a new customer without credit.
   * @throws GatewayError `malformed_request`, `not_found` for a customer, or `unavailable`
   */
  create(order: KeyOrder): Promise<KeyView & { apiKey: string }>;
  /**
   * Keys, newest first.
   * @throws GatewayError `malformed_request`, `not_found` for a wallet never seen, or `unavailable`
   */
  list(query: KeyQuery): Promise<{ keys: KeyView[]; hasMore: boolean }>;
  /**
   * Ends a key for good; every process refuses it within a second. `changed` is false when it had ended before.
   * @throws GatewayError `malformed_request`, `not_found`, or `unavailable`
   */
  revoke(order: { keyId: string; actor: string }): Promise<{ changed: boolean; key: KeyView }>;
}

/** One more is read than is shown, to know whether more follow. */
export const MAX_KEYS_LISTED = 99;

export function createKeyAdmin({ db, clock }: { db: Queryable; clock: Clock }): KeyAdmin {
  function view(key: NamedApiKey): KeyView {
    const hasEnded = key.expiresAt !== undefined && key.expiresAt.getTime() <= clock.nowMs();
    return { ...key, state: key.revokedAt ? 'revoked' : hasEnded ? 'expired' : 'usable' };
  }

  /** Whose the key is to be; a wallet or nobody named is a new customer, where there is none yet. */
  async function ownerOf(order: KeyOrder): Promise<{ customer: Customer; environment: Environment }> {
    const asked = order.environment === undefined ? undefined : readEnvironment(order.environment);
    if (order.wallet !== undefined) {
      const wallet = readWallet(order.wallet);
      if (asked !== undefined && asked !== wallet.environment) {
        throw malformed(`the keys of this wallet are ${wallet.environment} keys`);
      }
      return { customer: await resolveWallet(db, wallet), environment: wallet.environment };
    }
    const environment = asked ?? 'live';
    if (order.customerId === undefined) {
      return { customer: await createCustomer(db, environment), environment };
    }
    const customerId = readId('customer', order.customerId);
    const customer = await findCustomer(db, { customerId, environment });
    if (!customer) throw new GatewayError('not_found', `there is no such ${environment} customer`);
    return { customer, environment };
  }

  async function create(order: KeyOrder): Promise<KeyView & { apiKey: string }> {
    requireOneOwner(order);
    const terms = {
      dialect: readDialect(order.dialect),
      createdBy: readActor(order.actor),
      allowedAddresses: readAddresses(order.allowedAddresses ?? []),
      ...(order.expiresAt !== undefined && { expiresAt: readExpiry(order.expiresAt, clock.nowMs()) }),
      ...(order.capUsd !== undefined && { spendingCapNanoUsd: readCap(order.capUsd) }),
    };
    // Last, because it may make a customer.
    const { customer, environment } = await ownerOf(order);
    const { customerId } = customer;
    const { apiKey, keyId } = await createApiKey(db, { ...terms, environment, customerId });
    const key = await findNamedApiKey(db, keyId);
    assert(key, 'a key that was stored is found');
    return { ...view(key), apiKey };
  }

  async function list(query: KeyQuery): Promise<{ keys: KeyView[]; hasMore: boolean }> {
    requireOneOwner(query);
    const limit = Math.min(query.limit, MAX_KEYS_LISTED);
    const before = query.before === undefined ? undefined : readId('before', query.before);
    const filter = {
      customerId: await customerIdOf(query),
      dialect: query.dialect === undefined ? undefined : readDialect(query.dialect),
      environment: query.environment === undefined ? undefined : readEnvironment(query.environment),
      usableAt: query.usable ? new Date(clock.nowMs()) : undefined,
    };
    const keys = await listApiKeys(db, filter, { limit: limit + 1, before });
    return { keys: keys.slice(0, limit).map(view), hasMore: keys.length > limit };
  }

  async function customerIdOf({ customerId, wallet }: OwnerName): Promise<string | undefined> {
    if (wallet === undefined) return customerId === undefined ? undefined : readId('customer', customerId);
    const customer = await findWallet(db, readWallet(wallet));
    if (!customer) throw new GatewayError('not_found', 'this wallet was never seen');
    return customer.customerId;
  }

  async function revoke(order: { keyId: string; actor: string }) {
    const keyId = readId('key', order.keyId);
    const changed = await revokeAnyApiKey(db, { keyId, actor: readActor(order.actor) });
    const key = await findNamedApiKey(db, keyId);
    if (!key) throw new GatewayError('not_found', 'there is no key with this id');
    return { changed, key: view(key) };
  }

  return {
    create: order => orUnavailable(create(order)),
    list: query => orUnavailable(list(query)),
    revoke: order => orUnavailable(revoke(order)),
  };
}

function requireOneOwner({ customerId, wallet }: OwnerName): void {
  if (customerId !== undefined && wallet !== undefined)
    throw malformed('name a customer or a wallet, not both');
}
