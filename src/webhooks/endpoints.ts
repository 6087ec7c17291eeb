import type { CellName, Queryable } from '../db/queryable.ts';
import type { Environment } from '../ports/environment.ts';
import type { At } from './at.ts';
import type { WaitingEvent } from './outbox.ts';

/** Who an endpoint belongs to: a customer, or the operator of the gateway. */
export type EndpointOwner =
  | { kind: 'aitopup'; environment: Environment; customerId: string; accountId: bigint; cell: CellName }
  | { kind: 'operator'; environment: Environment };

export type EndpointKind = EndpointOwner['kind'];

export interface Endpoint {
  endpointId: string;
  environment: Environment;
  kind: EndpointKind;
  /** The owner's ledger account; undefined for the operator's. */
  accountId: bigint | undefined;
  url: string;
  events: readonly string[];
  active: boolean;
  createdAt: Date;
}

/** An endpoint with what signs its deliveries, still sealed. */
export interface SigningEndpoint extends Endpoint {
  secret: string;
  /** Present while the secret before the last rotation still signs. */
  previousSecret: string | undefined;
}

interface EndpointRow {
  endpoint_id: string;
  environment: Environment;
  kind: EndpointKind;
  account_id: string | null;
  url: string;
  events: string[];
  active: boolean;
  created_at: Date;
}

interface SigningRow extends EndpointRow {
  secret: string;
  previous_secret: string | null;
}

const COLUMNS = 'endpoint_id, environment, kind, account_id, url, events, active, created_at';
/** `$2` is the moment of the claim; the database's own when null. */
const SIGNING_COLUMNS = `${COLUMNS}, secret,
  CASE WHEN previous_secret_until > coalesce($2, now()) THEN previous_secret END AS previous_secret`;

/** The rows of one owner. `$1` is the environment and `$2` the account, null for the operator. */
const OWNED = 'environment = $1 AND account_id IS NOT DISTINCT FROM $2';

const ownerValues = (owner: EndpointOwner) => [
  owner.environment,
  owner.kind === 'operator' ? null : owner.accountId,
];

function toEndpoint(row: EndpointRow): Endpoint {
  return {
    endpointId: row.endpoint_id,
    environment: row.environment,
    kind: row.kind,
    accountId: row.account_id === null ? undefined : BigInt(row.account_id),
    url: row.url,
    events: row.events,
    active: row.active,
    createdAt: row.created_at,
  };
}

const toSigning = (row: SigningRow): SigningEndpoint => ({
  ...toEndpoint(row),
  secret: row.secret,
  previousSecret: row.previous_secret ?? undefined,
});

/**
 * Lets one caller at a time add to an owner's endpoints, until the transaction ends: each counts what the ones
 * before have stored. The operator has no row that could be locked.
 */
export async function lockEndpointsOf(db: Queryable, owner: EndpointOwner): Promise<void> {
  const name = owner.kind === 'operator' ? 'operator' : owner.customerId;
  await db.query({
    name: 'directory.lock_webhook_endpoints',
    text: `SELECT pg_advisory_xact_lock(hashtextextended('webhook endpoints ' || $1, 0))`,
    values: [`${owner.environment} ${name}`],
  });
}

/** Stores an endpoint. The caller has locked its owner's. @returns undefined when there are `max` already. */
export async function insertEndpoint(
  db: Queryable,
  owner: EndpointOwner,
  endpoint: { endpointId: string; url: string; events: readonly string[]; secret: string; max: number },
): Promise<Endpoint | undefined> {
  const customerId = owner.kind === 'operator' ? null : owner.customerId;
  const { rows } = await db.query<EndpointRow>({
    name: 'directory.insert_webhook_endpoint',
    text: `INSERT INTO directory.webhook_endpoint
             (environment, account_id, kind, customer_id, endpoint_id, url, events, secret)
           SELECT $1, $2, $3, $4, $5, $6, $7, $8
           WHERE (SELECT count(*) FROM directory.webhook_endpoint WHERE ${OWNED}) < $9
           RETURNING ${COLUMNS}`,
    values: [
      ...ownerValues(owner),
      owner.kind,
      customerId,
      endpoint.endpointId,
      endpoint.url,
      endpoint.events,
      endpoint.secret,
      endpoint.max,
    ],
  });
  return rows[0] && toEndpoint(rows[0]);
}

/** An owner's endpoints, oldest first; there are few, because their number is limited. */
export async function listEndpoints(db: Queryable, owner: EndpointOwner): Promise<Endpoint[]> {
  const { rows } = await db.query<EndpointRow>({
    name: 'directory.list_webhook_endpoints',
    text: `SELECT ${COLUMNS} FROM directory.webhook_endpoint WHERE ${OWNED} ORDER BY endpoint_id LIMIT 1000`,
    values: ownerValues(owner),
  });
  return rows.map(toEndpoint);
}

/** Changes what is given. @returns undefined when the owner has no such endpoint. */
export async function updateEndpoint(
  db: Queryable,
  owner: EndpointOwner,
  endpointId: string,
  change: { url?: string | undefined; events?: readonly string[] | undefined; active?: boolean | undefined },
): Promise<Endpoint | undefined> {
  const { rows } = await db.query<EndpointRow>({
    name: 'directory.update_webhook_endpoint',
    text: `UPDATE directory.webhook_endpoint SET url = coalesce($4, url), events = coalesce($5, events),
             active = coalesce($6, active)
           WHERE ${OWNED} AND endpoint_id = $3 RETURNING ${COLUMNS}`,
    values: [
      ...ownerValues(owner),
      endpointId,
      change.url ?? null,
      change.events ?? null,
      change.active ?? null,
    ],
  });
  return rows[0] && toEndpoint(rows[0]);
}

/** Puts a new secret in the place of the current one, which goes on signing for so many hours. */
export async function replaceSecret(
  db: Queryable,
  owner: EndpointOwner,
  endpointId: string,
  { secret, overlapHours }: { secret: string; overlapHours: number },
): Promise<Endpoint | undefined> {
  const { rows } = await db.query<EndpointRow>({
    name: 'directory.replace_webhook_secret',
    text: `UPDATE directory.webhook_endpoint SET previous_secret = secret, secret = $4,
             previous_secret_until = now() + $5 * interval '1 hour'
           WHERE ${OWNED} AND endpoint_id = $3 RETURNING ${COLUMNS}`,
    values: [...ownerValues(owner), endpointId, secret, overlapHours],
  });
  return rows[0] && toEndpoint(rows[0]);
}

/** Forgets an endpoint and its secrets. @returns false when the owner has no such endpoint. */
export async function deleteEndpoint(
  db: Queryable,
  owner: EndpointOwner,
  endpointId: string,
): Promise<boolean> {
  const result = await db.query({
    name: 'directory.delete_webhook_endpoint',
    text: `DELETE FROM directory.webhook_endpoint WHERE ${OWNED} AND endpoint_id = $3`,
    values: [...ownerValues(owner), endpointId],
  });
  return result.rowCount === 1;
}

/** Ends deliveries to an endpoint that says it is gone. */
export async function deactivateEndpoint(db: Queryable, endpointId: string): Promise<void> {
  await db.query({
    name: 'directory.deactivate_webhook_endpoint',
    text: 'UPDATE directory.webhook_endpoint SET active = false WHERE endpoint_id = $1',
    values: [endpointId],
  });
}

/** The endpoints of deliveries that are about to be attempted, as they are now. */
export async function readSigningEndpoints(
  db: Queryable,
  endpointIds: readonly string[],
  at: At = {},
): Promise<ReadonlyMap<string, SigningEndpoint>> {
  const { rows } = await db.query<SigningRow>({
    name: 'directory.read_signing_endpoints',
    text: `SELECT ${SIGNING_COLUMNS} FROM directory.webhook_endpoint WHERE endpoint_id = ANY ($1)`,
    values: [endpointIds, at.now ?? null],
  });
  return new Map(rows.map(row => [row.endpoint_id, toSigning(row)]));
}

/** Active endpoints that may want one of these events: by environment, and either the account's or everybody's. */
export async function findSubscribers(
  db: Queryable,
  events: readonly WaitingEvent[],
): Promise<readonly Endpoint[]> {
  const environments = [...new Set(events.map(event => event.environment))];
  const accounts = [...new Set(events.map(event => event.accountId))];
  const { rows } = await db.query<EndpointRow>({
    name: 'directory.find_webhook_subscribers',
    text: `SELECT ${COLUMNS} FROM directory.webhook_endpoint
           WHERE environment = ANY ($1) AND active AND (account_id = ANY ($2::bigint[]) OR account_id IS NULL)`,
    values: [environments, accounts],
  });
  return rows.map(toEndpoint);
}

/** Whether an endpoint is to be told about an event. */
export function wants(endpoint: Endpoint, event: WaitingEvent): boolean {
  return (
    endpoint.environment === event.environment &&
    (endpoint.accountId === undefined || endpoint.accountId === event.accountId) &&
    endpoint.events.includes(event.type)
  );
}
