import type { Pool } from 'pg';
import { orUnavailable, violatesForeignKey } from '../db/pg-errors.ts';
import type { CellName } from '../db/queryable.ts';
import { withTransaction } from '../db/transaction.ts';
import type { Clock } from '../lib/clock.ts';
import { newId } from '../lib/ids.ts';
import type { Sealer } from '../lib/sealed.ts';
import type { Outbound } from '../ports/outbound.ts';
import type { At } from './at.ts';
import { attemptDelivery } from './attempt.ts';
import { dropPending, insertDeliveries } from './deliveries.ts';
import { type DeliveryFilter, findDelivery, listDeliveries, mergePages } from './delivery-log.ts';
import {
  deleteEndpoint,
  type EndpointOwner,
  insertEndpoint,
  listEndpoints,
  lockEndpointsOf,
  replaceSecret,
  updateEndpoint,
} from './endpoints.ts';
import { EVENT_TYPES, isoSeconds } from './events.ts';
import { parsePublicId, publicId } from './ids.ts';
import { secretContext } from './secrets.ts';
import { createWebhookSecret } from './signing.ts';
import { type DeliveryView, type EndpointView, viewDelivery, viewEndpoint } from './views.ts';

export type { DeliveryState } from './delivery-log.ts';
export type { EndpointOwner } from './endpoints.ts';
export type { DeliveryView, EndpointView } from './views.ts';

export interface NewEndpoint {
  url: string;
  events: readonly string[];
  /** Whether a signed test event must be taken first; nothing is stored when it is not. */
  verify: boolean;
}

export interface WithSecret {
  endpoint: EndpointView;
  /** Shown this once. */
  secret: string;
}

export interface InvalidUrl {
  kind: 'invalid_url';
  message: string;
}

export type Registration =
  | ({ kind: 'registered' } & WithSecret)
  | InvalidUrl
  | { kind: 'too_many' }
  /** The test event was not taken; `httpStatus` where there was an answer. */
  | { kind: 'not_delivered'; httpStatus: number | undefined };

export type Update = { kind: 'updated'; endpoint: EndpointView } | InvalidUrl | { kind: 'not_found' };

export type Replay =
  | { kind: 'replayed'; delivery: DeliveryView }
  | { kind: 'not_found' }
  /** It is still being attempted. */
  | { kind: 'pending' }
  | InvalidUrl;

export interface EndpointChange {
  url?: string | undefined;
  events?: readonly string[] | undefined;
  active?: boolean | undefined;
}

/** Ids in a filter are the public ones; an id of nothing matches nothing. */
export type LogFilter = Pick<DeliveryFilter, 'event' | 'state' | 'transactionId' | 'limit'> & {
  webhookId?: string | undefined;
  before?: string | undefined;
};

/**
 * Endpoints and deliveries of one owner in one environment, by their public ids. Nothing of another owner is
 * ever found. Every call throws GatewayError `unavailable` while the database is down.
 */
export interface Webhooks {
  /** All events that there are. */
  readonly eventTypes: readonly string[];
  register(owner: EndpointOwner, endpoint: NewEndpoint): Promise<Registration>;
  list(owner: EndpointOwner): Promise<EndpointView[]>;
  update(owner: EndpointOwner, id: string, change: EndpointChange): Promise<Update>;
  /** The secret before goes on signing for a day, as a second signature. */
  rotateSecret(owner: EndpointOwner, id: string): Promise<WithSecret | undefined>;
  /** Also drops what waits for it. @returns false when there is no such endpoint */
  remove(owner: EndpointOwner, id: string): Promise<boolean>;
  /** Newest first. */
  deliveries(
    owner: EndpointOwner,
    filter: LogFilter,
  ): Promise<{ deliveries: DeliveryView[]; hasMore: boolean }>;
  delivery(owner: EndpointOwner, id: string): Promise<DeliveryView | undefined>;
  /** Hands the same event over once more, by a new delivery with attempts of its own. */
  replay(owner: EndpointOwner, id: string): Promise<Replay>;
}

export interface WebhooksDeps {
  db: Pool;
  cells: readonly CellName[];
  outbound: Outbound;
  sealer: Sealer;
  clock: Clock;
  /** Moves the database's clock in tests. */
  at?: () => At;
}

const MAX_ENDPOINTS = 10;
const SECRET_OVERLAP_HOURS = 24;

export function createWebhooks(deps: WebhooksDeps): Webhooks {
  const { db, outbound, sealer } = deps;
  /** Deliveries lie beside their events: those of an account in its cell, the operator's in every one. */
  const cellsOf = (owner: EndpointOwner) => (owner.kind === 'operator' ? deps.cells : [owner.cell]);

  async function register(owner: EndpointOwner, { url, events, verify }: NewEndpoint): Promise<Registration> {
    const refused = await outbound.check(url);
    if (refused) return { kind: 'invalid_url', message: refused.message };
    const endpointId = newId();
    const secret = createWebhookSecret();
    if (verify) {
      const result = await sendTestEvent(deps, owner, { url, secret });
      const httpStatus = result.kind === 'answered' ? result.status : undefined;
      if (httpStatus === undefined || httpStatus < 200 || httpStatus > 299) {
        return { kind: 'not_delivered', httpStatus };
      }
    }
    const sealed = sealer.seal(secret, secretContext(endpointId));
    const order = { endpointId, url, events, secret: sealed, max: MAX_ENDPOINTS };
    const endpoint = await withTransaction(db, async transaction => {
      await lockEndpointsOf(transaction, owner);
      return insertEndpoint(transaction, owner, order);
    });
    return endpoint ? { kind: 'registered', endpoint: viewEndpoint(endpoint), secret } : { kind: 'too_many' };
  }

  async function update(owner: EndpointOwner, id: string, change: EndpointChange): Promise<Update> {
    const endpointId = parsePublicId('endpoint', id);
    const refused = change.url === undefined ? undefined : await outbound.check(change.url);
    if (refused) return { kind: 'invalid_url', message: refused.message };
    const endpoint = endpointId && (await updateEndpoint(db, owner, endpointId, change));
    return endpoint ? { kind: 'updated', endpoint: viewEndpoint(endpoint) } : { kind: 'not_found' };
  }

  async function rotateSecret(owner: EndpointOwner, id: string): Promise<WithSecret | undefined> {
    const endpointId = parsePublicId('endpoint', id);
    if (!endpointId) return undefined;
    const secret = createWebhookSecret();
    const sealed = sealer.seal(secret, secretContext(endpointId));
    const order = { secret: sealed, overlapHours: SECRET_OVERLAP_HOURS };
    const endpoint = await replaceSecret(db, owner, endpointId, order);
    return endpoint && { endpoint: viewEndpoint(endpoint), secret };
  }

  async function remove(owner: EndpointOwner, id: string): Promise<boolean> {
    const endpointId = parsePublicId('endpoint', id);
    if (!endpointId || !(await deleteEndpoint(db, owner, endpointId))) return false;
    for (const cell of deps.cells) await dropPending(db, cell, endpointId);
    return true;
  }

  async function deliveries(owner: EndpointOwner, { webhookId, before, ...rest }: LogFilter) {
    const endpointId = webhookId === undefined ? undefined : parsePublicId('endpoint', webhookId);
    const beforeId = before === undefined ? undefined : parsePublicId('delivery', before);
    const isOfNothing =
      (webhookId !== undefined && endpointId === undefined) ||
      (before !== undefined && beforeId === undefined);
    if (isOfNothing) return { deliveries: [], hasMore: false };
    const order = { ...rest, endpointId, before: beforeId };
    const pages = await Promise.all(cellsOf(owner).map(cell => listDeliveries(db, cell, owner, order)));
    const page = mergePages(pages, rest.limit);
    return { deliveries: page.deliveries.map(viewDelivery), hasMore: page.hasMore };
  }

  async function find(owner: EndpointOwner, id: string) {
    const deliveryId = parsePublicId('delivery', id);
    for (const cell of deliveryId === undefined ? [] : cellsOf(owner)) {
      const found = await findDelivery(db, cell, owner, deliveryId ?? '');
      if (found) return { ...found, cell };
    }
    return undefined;
  }

  async function replay(owner: EndpointOwner, id: string): Promise<Replay> {
    const original = await find(owner, id);
    const endpoint =
      original && (await listEndpoints(db, owner)).find(each => each.endpointId === original.endpointId);
    if (!original || !endpoint) return { kind: 'not_found' };
    if (original.state === 'pending') return { kind: 'pending' };
    if (!endpoint.active) return { kind: 'invalid_url', message: 'the webhook is not active' };
    const refused = await outbound.check(endpoint.url);
    if (refused) return { kind: 'invalid_url', message: refused.message };
    const { eventId, deliveryId: replayOf, cell } = original;
    // Whoever asks for a replay waits for it: at once, also where the schedule begins with a wait.
    const again = { deliveryId: newId(), eventId, endpoint, replayOf, waitMs: 0 };
    try {
      await insertDeliveries(db, cell, [again], deps.at?.());
    } catch (error) {
      // The event has just become too old and is deleted, with this log entry.
      if (violatesForeignKey(error, 'webhook_delivery_event_fkey')) return { kind: 'not_found' };
      throw error;
    }
    const delivery = await findDelivery(db, cell, owner, again.deliveryId);
    return delivery ? { kind: 'replayed', delivery: viewDelivery(delivery) } : { kind: 'not_found' };
  }

  return {
    eventTypes: EVENT_TYPES,
    register: (owner, endpoint) => orUnavailable(register(owner, endpoint)),
    list: async owner => (await orUnavailable(listEndpoints(db, owner))).map(viewEndpoint),
    update: (owner, id, change) => orUnavailable(update(owner, id, change)),
    rotateSecret: (owner, id) => orUnavailable(rotateSecret(owner, id)),
    remove: (owner, id) => orUnavailable(remove(owner, id)),
    deliveries: (owner, filter) => orUnavailable(deliveries(owner, filter)),
    async delivery(owner, id) {
      const found = await orUnavailable(find(owner, id));
      return found && viewDelivery(found);
    },
    replay: (owner, id) => orUnavailable(replay(owner, id)),
  };
}

/** One event of no meaning, signed as every other, to an endpoint that is not stored yet. */
function sendTestEvent(
  { outbound, clock }: WebhooksDeps,
  { kind, environment }: EndpointOwner,
  { url, secret }: { url: string; secret: string },
) {
  const eventId = newId();
  const nowMs = clock.nowMs();
  const eventType = 'webhook.test';
  const body = JSON.stringify({
    id: publicId('event', eventId),
    type: eventType,
    event: eventType,
    environment: environment === 'live' ? 'live' : 'staging',
    timestamp: isoSeconds(new Date(nowMs)),
    transaction_id: null,
    status: 'ok',
    data: {},
  });
  const order = { kind, url, body, eventId, eventType, deliveryId: newId(), attempt: 1, nowMs };
  return attemptDelivery(outbound, { ...order, secrets: [secret] });
}
