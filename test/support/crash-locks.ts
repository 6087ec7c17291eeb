import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';

const POLL_MS = 50;

const blocked = (statement: string) => `FROM pg_stat_activity
  WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%${statement}%'`;

/**
 * How many connections wait with a statement.
 * @param lock the connection whose transaction holds what they wait for
 */
export async function countBlocked(lock: Client, statement: string): Promise<number> {
  // A transaction sees one state of this list else.
  await lock.query('SELECT pg_stat_clear_snapshot()');
  const { rows } = await lock.query<{ blocked: number }>(
    `SELECT count(*)::int AS blocked ${blocked(statement)}`,
  );
  return rows[0]?.blocked ?? 0;
}

/**
 * The server goes on with the statement of a client that is gone. Half of them are ended, so that they have changed nothing;
 * the others come to their end after the death of the process that asked for it.
 */
export const endHalf = (lock: Client, statement: string): Promise<void> => endBlocked(lock, statement, 2);

/** As if the process had died before it sent any of them. */
export const endAll = (lock: Client, statement: string): Promise<void> => endBlocked(lock, statement, 1);

async function endBlocked(lock: Client, statement: string, every: number): Promise<void> {
  const { rows } = await lock.query<{ pid: number }>(`SELECT pid ${blocked(statement)} ORDER BY pid`);
  const ended = rows.filter((_, index) => index % every === 0).map(({ pid }) => pid);
  await lock.query('SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid', [ended]);
  while ((await countBlocked(lock, statement)) > rows.length - ended.length) await sleep(POLL_MS);
  await lock.query('COMMIT');
  while ((await countBlocked(lock, statement)) > 0) await sleep(POLL_MS);
}
