import type { CellName, Queryable } from '../db/queryable.ts';
import type { At } from './at.ts';
import type { Endpoint } from './endpoints.ts';
import type { StoredEvent } from './events.ts';
import { type EventRow, toEvent } from './outbox.ts';
import type { Allowance } from './slots.ts';

/** Statements on the deliveries of one cell that the dispatcher needs; the log is in `delivery-log.ts`. */

/** One try to hand an event over, as the log shows it. */
export interface Attempt {
  /** From 1. */
  n: number;
  at: string;
  http_status: number | null;
  duration_ms: number;
  /** One word, where there was no answer. */
  error: string | null;
}

/** A delivery that this process has claimed and must attempt. */
export interface ClaimedDelivery {
  deliveryId: string;
  endpointId: string;
  /** Whose endpoint it is: an account, or the operator of an environment. */
  owner: string;
  /** Attempts made before. */
  attempts: number;
  event: StoredEvent;
}

export interface NewDelivery {
  deliveryId: string;
  eventId: string;
  endpoint: Endpoint;
  replayOf?: string;
  /** Before the first attempt. */
  waitMs: number;
}

/** Queues an event for each endpoint that wants it. */
export async function insertDeliveries(
  db: Queryable,
  cell: CellName,
  deliveries: readonly NewDelivery[],
  at: At = {},
): Promise<void> {
  await db.query({
    name: `${cell}.insert_deliveries`,
    text: `INSERT INTO "${cell}".webhook_delivery
             (delivery_id, event_id, environment, endpoint_id, account_id, replay_of, due_at)
           SELECT id, event, environment, endpoint, account, replayed,
             coalesce($8, clock_timestamp()) + wait_ms * interval '1 ms'
           FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::uuid[], $7::bigint[])
             d(id, event, environment, endpoint, account, replayed, wait_ms)`,
    values: [
      deliveries.map(each => each.deliveryId),
      deliveries.map(each => each.eventId),
      deliveries.map(each => each.endpoint.environment),
      deliveries.map(each => each.endpoint.endpointId),
      deliveries.map(each => each.endpoint.accountId ?? null),
      deliveries.map(each => each.replayOf ?? null),
      deliveries.map(each => each.waitMs),
      at.now ?? null,
    ],
  });
}

export interface Claim extends At {
  /** After this a claimed delivery that has no result is attempted again. */
  leaseMs: number;
  allowance: Allowance;
}

interface ClaimedRow extends EventRow {
  delivery_id: string;
  endpoint_id: string;
  owner: string;
  made: number;
}

/**
 * Takes deliveries whose time has come, from the head of every endpoint's own queue, so that one endpoint's
 * thousands do not stand before another's one. The recursion walks from endpoint to endpoint along the index
 * of the queues; what another replica is taking is skipped. What the heads have together is cut down to the
 * allowance: first the slow endpoints as such, then each owner, then all.
 */
export async function claimDeliveries(
  db: Queryable,
  cell: CellName,
  { allowance, leaseMs, now }: Claim,
): Promise<ClaimedDelivery[]> {
  const endpoints = [...allowance.endpoints];
  const { rows } = await db.query<ClaimedRow>({
    name: `${cell}.claim_deliveries`,
    text: `WITH RECURSIVE waiting AS (
             (SELECT endpoint_id FROM "${cell}".webhook_delivery
              WHERE state = 'pending' ORDER BY endpoint_id LIMIT 1)
             UNION ALL
             SELECT (SELECT d.endpoint_id FROM "${cell}".webhook_delivery d
                     WHERE d.state = 'pending' AND d.endpoint_id > w.endpoint_id
                     ORDER BY d.endpoint_id LIMIT 1)
             FROM waiting w WHERE w.endpoint_id IS NOT NULL
           ), due AS (
             SELECT head.*, coalesce(s.is_slow, false) AS is_slow,
               row_number() OVER (PARTITION BY coalesce(s.is_slow, false) ORDER BY head.due_at) AS of_pace
             FROM waiting w
             LEFT JOIN unnest($3::uuid[], $4::int[], $5::boolean[]) s(endpoint_id, free, is_slow)
               ON s.endpoint_id = w.endpoint_id
             CROSS JOIN LATERAL (
               SELECT d.delivery_id, d.due_at, coalesce(d.account_id::text, d.environment) AS owner
               FROM "${cell}".webhook_delivery d
               WHERE d.state = 'pending' AND d.endpoint_id = w.endpoint_id
                 AND d.due_at <= coalesce($11, clock_timestamp())
               ORDER BY d.due_at LIMIT coalesce(s.free, $6) FOR NO KEY UPDATE SKIP LOCKED) head
           ), owned AS (
             SELECT due.*, row_number() OVER (PARTITION BY owner ORDER BY due_at) AS of_owner
             FROM due WHERE NOT is_slow OR of_pace <= $7
           ), chosen AS MATERIALIZED (
             SELECT delivery_id, owner FROM owned
             LEFT JOIN unnest($8::text[], $9::int[]) o(owner, free) USING (owner)
             WHERE of_owner <= coalesce(o.free, $10) ORDER BY due_at LIMIT $1
           ), taken AS (
             UPDATE "${cell}".webhook_delivery d
             SET in_flight = true, due_at = coalesce($11, clock_timestamp()) + $2 * interval '1 ms'
             FROM chosen WHERE d.delivery_id = chosen.delivery_id
             RETURNING d.delivery_id, d.endpoint_id, chosen.owner, jsonb_array_length(d.attempts) AS made, d.event_id
           )
           SELECT t.delivery_id, t.endpoint_id, t.owner, t.made, o.* FROM taken t
           JOIN "${cell}".outbox o ON o.event_id = t.event_id`,
    values: [
      allowance.total,
      leaseMs,
      endpoints.map(([id]) => id),
      endpoints.map(([, { free }]) => free),
      endpoints.map(([, { isSlow }]) => isSlow),
      allowance.perEndpoint,
      allowance.slow,
      [...allowance.owners.keys()],
      [...allowance.owners.values()],
      allowance.perOwner,
      now ?? null,
    ],
  });
  return rows.map(row => ({
    deliveryId: row.delivery_id,
    endpointId: row.endpoint_id,
    owner: row.owner,
    attempts: row.made,
    event: toEvent(row),
  }));
}

/** What an attempt came to. */
export interface AttemptResult {
  deliveryId: string;
  state: 'pending' | 'succeeded' | 'failed';
  /** Undefined when there was nothing to attempt, because the endpoint is gone. */
  attempt: Attempt | undefined;
  /** Of the next attempt, counted from now. */
  waitMs: number;
}

/** Stores the results of many attempts in one statement. */
export async function finishAttempts(
  db: Queryable,
  cell: CellName,
  results: readonly AttemptResult[],
  at: At = {},
): Promise<void> {
  await db.query({
    name: `${cell}.finish_attempts`,
    text: `UPDATE "${cell}".webhook_delivery d
           SET state = r.state, attempts = d.attempts || r.attempt, in_flight = false,
             due_at = coalesce($5, clock_timestamp()) + r.wait_ms * interval '1 ms'
           FROM unnest($1::uuid[], $2::text[], $3::jsonb[], $4::bigint[]) r(delivery_id, state, attempt, wait_ms)
           WHERE d.delivery_id = r.delivery_id AND d.state = 'pending'`,
    values: [
      results.map(result => result.deliveryId),
      results.map(result => result.state),
      results.map(result => JSON.stringify(result.attempt ? [result.attempt] : [])),
      results.map(result => result.waitMs),
      at.now ?? null,
    ],
  });
}

/** Ends what still waits for an endpoint that is gone. One that is under way ends by itself. */
export async function dropPending(db: Queryable, cell: CellName, endpointId: string): Promise<void> {
  await db.query({
    name: `${cell}.drop_pending_deliveries`,
    text: `UPDATE "${cell}".webhook_delivery SET state = 'failed', in_flight = false
           WHERE endpoint_id = $1 AND state = 'pending'`,
    values: [endpointId],
  });
}
