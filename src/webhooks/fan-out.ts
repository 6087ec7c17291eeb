import type { Pool } from 'pg';
import type { CellName } from '../db/queryable.ts';
import { withTransaction } from '../db/transaction.ts';
import { newId } from '../lib/ids.ts';
import type { At } from './at.ts';
import { insertDeliveries } from './deliveries.ts';
import { findSubscribers, wants } from './endpoints.ts';
import { hasWaitingEvents, lockWaitingEvents, markFannedOut } from './outbox.ts';
import { type RetrySchedules, waitBefore } from './schedule.ts';

const MAX_EVENTS = 500;
/** Rows in one statement; an event that a thousand endpoints want makes as many. */
const MAX_ROWS = 5_000;

/**
 * Makes a delivery of every waiting event for every endpoint that wants it, and notes that it is done, in one
 * transaction: an event is fanned out once, also when the process dies in the middle.
 * @returns how many events were looked at
 */
export async function fanOut(
  pool: Pool,
  cell: CellName,
  schedules: RetrySchedules,
  at: At = {},
): Promise<number> {
  if (!(await hasWaitingEvents(pool, cell))) return 0;
  return withTransaction(pool, async db => {
    const events = await lockWaitingEvents(db, cell, MAX_EVENTS);
    if (events.length === 0) return 0;
    const endpoints = await findSubscribers(db, events);
    const deliveries = events.flatMap(event =>
      endpoints
        .filter(endpoint => wants(endpoint, event))
        .map(endpoint => ({
          deliveryId: newId(),
          eventId: event.eventId,
          endpoint,
          waitMs: waitBefore(1, schedules[endpoint.kind]) ?? 0,
        })),
    );
    for (let from = 0; from < deliveries.length; from += MAX_ROWS) {
      await insertDeliveries(db, cell, deliveries.slice(from, from + MAX_ROWS), at);
    }
    await markFannedOut(
      db,
      cell,
      events.map(event => event.eventId),
    );
    return events.length;
  });
}
