import type { CellName, Queryable } from '../db/queryable.ts';
import { newId } from '../lib/ids.ts';
import type { Environment } from '../ports/environment.ts';
import type { EventType, StoredEvent } from './events.ts';

/** Statements on the events of one cell. */

export interface NewEvent {
  accountId: bigint;
  environment: Environment;
  type: EventType;
  transactionId?: string;
  status?: string;
  payload: Record<string, unknown>;
}

/** Notes an event. Call it inside the transaction that makes it true: then it is told about exactly if it is. */
export async function addEvent(db: Queryable, cell: CellName, event: NewEvent): Promise<void> {
  await db.query({
    name: `${cell}.add_event`,
    text: `INSERT INTO "${cell}".outbox (event_id, account_id, environment, type, transaction_id, status, payload)
           VALUES ($1, $2, $3, $4, $5, $6, $7)`,
    values: [
      newId(),
      event.accountId,
      event.environment,
      event.type,
      event.transactionId ?? null,
      event.status ?? 'ok',
      JSON.stringify(event.payload),
    ],
  });
}

export interface EventRow {
  event_id: string;
  account_id: string;
  environment: Environment;
  type: string;
  transaction_id: string | null;
  status: string;
  payload: Record<string, unknown>;
  created_at: Date;
}

export function toEvent(row: EventRow): StoredEvent {
  return {
    eventId: row.event_id,
    accountId: BigInt(row.account_id),
    environment: row.environment,
    type: row.type,
    transactionId: row.transaction_id,
    status: row.status,
    payload: row.payload,
    createdAt: row.created_at,
  };
}

/** Who an event is for: all that the fan-out has to know of it. */
export type WaitingEvent = Pick<StoredEvent, 'eventId' | 'accountId' | 'environment' | 'type'>;

/** Whether there may be events to fan out: asked often, so it takes no lock and no transaction. */
export async function hasWaitingEvents(db: Queryable, cell: CellName): Promise<boolean> {
  const { rows } = await db.query({
    name: `${cell}.has_waiting_events`,
    text: `SELECT FROM "${cell}".outbox WHERE fanned_out_at IS NULL LIMIT 1`,
    values: [],
  });
  return rows.length > 0;
}

/**
 * Locks events that have no deliveries yet, oldest first, for this transaction; those that another replica
 * has locked are left to it.
 */
export async function lockWaitingEvents(
  db: Queryable,
  cell: CellName,
  limit: number,
): Promise<WaitingEvent[]> {
  const { rows } = await db.query<EventRow>({
    name: `${cell}.lock_waiting_events`,
    text: `SELECT event_id, account_id, environment, type FROM "${cell}".outbox
           WHERE fanned_out_at IS NULL ORDER BY created_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED`,
    values: [limit],
  });
  return rows.map(row => ({
    eventId: row.event_id,
    accountId: BigInt(row.account_id),
    environment: row.environment,
    type: row.type,
  }));
}

/** Notes that the deliveries of these events are made. */
export async function markFannedOut(
  db: Queryable,
  cell: CellName,
  eventIds: readonly string[],
): Promise<void> {
  await db.query({
    name: `${cell}.mark_fanned_out`,
    text: `UPDATE "${cell}".outbox SET fanned_out_at = clock_timestamp() WHERE event_id = ANY ($1)`,
    values: [eventIds],
  });
}

/**
 * Deletes up to `limit` events of more than so many days ago, with their deliveries. One that is still to be
 * attempted keeps its event, however long its schedule is.
 * @returns how many
 */
export async function deleteOldEvents(
  db: Queryable,
  cell: CellName,
  options: { days: number; limit: number },
): Promise<number> {
  const result = await db.query({
    name: `${cell}.delete_old_events`,
    text: `DELETE FROM "${cell}".outbox WHERE event_id IN (
             SELECT event_id FROM "${cell}".outbox o
             WHERE created_at < now() - $1 * interval '1 day' AND fanned_out_at IS NOT NULL
               AND NOT EXISTS (SELECT FROM "${cell}".webhook_delivery d
                               WHERE d.event_id = o.event_id AND d.state = 'pending')
             ORDER BY created_at LIMIT $2 FOR UPDATE OF o SKIP LOCKED)`,
    values: [options.days, options.limit],
  });
  return result.rowCount ?? 0;
}
