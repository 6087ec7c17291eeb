import type { CellName, Queryable } from '../db/queryable.ts';
import type { Attempt } from './deliveries.ts';
import type { EndpointOwner } from './endpoints.ts';

/** The log of deliveries as an endpoint's owner reads it. */

export type DeliveryState = 'pending' | 'succeeded' | 'failed';

export interface Delivery {
  deliveryId: string;
  eventId: string;
  event: string;
  endpointId: string;
  transactionId: string | undefined;
  state: DeliveryState;
  replayOf: string | undefined;
  /** Undefined while an attempt is under way and when there will be none. */
  nextAttemptAt: Date | undefined;
  createdAt: Date;
  attempts: readonly Attempt[];
}

interface DeliveryRow {
  delivery_id: string;
  event_id: string;
  type: string;
  endpoint_id: string;
  transaction_id: string | null;
  state: DeliveryState;
  replay_of: string | null;
  due_at: Date;
  in_flight: boolean;
  created_at: Date;
  attempts: Attempt[];
}

const COLUMNS =
  'd.delivery_id, d.event_id, o.type, d.endpoint_id, o.transaction_id, d.state, d.replay_of, d.due_at, d.in_flight, ' +
  'd.created_at, d.attempts';

function toDelivery(row: DeliveryRow): Delivery {
  return {
    deliveryId: row.delivery_id,
    eventId: row.event_id,
    event: row.type,
    endpointId: row.endpoint_id,
    transactionId: row.transaction_id ?? undefined,
    state: row.state,
    replayOf: row.replay_of ?? undefined,
    nextAttemptAt: row.state === 'pending' && !row.in_flight ? row.due_at : undefined,
    createdAt: row.created_at,
    attempts: row.attempts,
  };
}

const accountOf = (owner: EndpointOwner) => (owner.kind === 'operator' ? null : owner.accountId);

export interface DeliveryFilter {
  endpointId?: string | undefined;
  event?: string | undefined;
  state?: DeliveryState | undefined;
  transactionId?: string | undefined;
  /** Continue after the delivery with this id. */
  before?: string | undefined;
  /** 1 to 100. */
  limit: number;
}

const MAX_LIMIT = 100;

/** Deliveries to an owner's endpoints, newest first, also of endpoints that are deleted since. */
export async function listDeliveries(
  db: Queryable,
  cell: CellName,
  owner: EndpointOwner,
  filter: DeliveryFilter,
): Promise<{ deliveries: Delivery[]; hasMore: boolean }> {
  const limit = Math.max(1, Math.min(filter.limit, MAX_LIMIT));
  // The account as an equality where there is one: IS NOT DISTINCT FROM would not use the index.
  const owned =
    owner.kind === 'operator' ? 'd.account_id IS NULL AND $1::bigint IS NULL' : 'd.account_id = $1';
  const { rows } = await db.query<DeliveryRow>({
    name: `${cell}.list_deliveries_${owner.kind}`,
    text: `SELECT ${COLUMNS} FROM "${cell}".webhook_delivery d
           JOIN "${cell}".outbox o ON o.event_id = d.event_id
           WHERE ${owned} AND d.environment = $2 AND ($3::uuid IS NULL OR d.delivery_id < $3)
             AND ($4::uuid IS NULL OR d.endpoint_id = $4) AND ($5::text IS NULL OR o.type = $5)
             AND ($6::text IS NULL OR d.state = $6) AND ($7::text IS NULL OR o.transaction_id = $7)
           ORDER BY d.delivery_id DESC LIMIT $8`,
    values: [
      accountOf(owner),
      owner.environment,
      filter.before ?? null,
      filter.endpointId ?? null,
      filter.event ?? null,
      filter.state ?? null,
      filter.transactionId ?? null,
      limit + 1,
    ],
  });
  return { deliveries: rows.slice(0, limit).map(toDelivery), hasMore: rows.length > limit };
}

/** One page out of a page of every cell: ids are in the order of time, whichever cell they are from. */
export function mergePages(
  pages: readonly { deliveries: readonly Delivery[]; hasMore: boolean }[],
  limit: number,
): { deliveries: Delivery[]; hasMore: boolean } {
  const all = pages
    .flatMap(({ deliveries }) => deliveries)
    .toSorted((x, y) => (x.deliveryId < y.deliveryId ? 1 : -1));
  const size = Math.max(1, Math.min(limit, MAX_LIMIT));
  return { deliveries: all.slice(0, size), hasMore: all.length > size || pages.some(page => page.hasMore) };
}

/** One delivery of an owner's endpoints. */
export async function findDelivery(
  db: Queryable,
  cell: CellName,
  owner: EndpointOwner,
  deliveryId: string,
): Promise<Delivery | undefined> {
  const { rows } = await db.query<DeliveryRow>({
    name: `${cell}.find_delivery`,
    text: `SELECT ${COLUMNS} FROM "${cell}".webhook_delivery d
           JOIN "${cell}".outbox o ON o.event_id = d.event_id
           WHERE d.delivery_id = $3 AND d.account_id IS NOT DISTINCT FROM $1 AND d.environment = $2`,
    values: [accountOf(owner), owner.environment, deliveryId],
  });
  return rows[0] && toDelivery(rows[0]);
}
