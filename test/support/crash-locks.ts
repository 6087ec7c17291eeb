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
export async function endHalf(lock: Client, statement: string): Promise<void> {
  const { rows } = await lock.query<{ pid: number }>(`SELECT pid ${blocked(statement)} ORDER BY pid`);
  const ended = rows.filter((_, index) => index % 2 === 0).map(({ pid }) => pid);
  await lock.query('SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid', [ended]);
  while ((await countBlocked(lock, statement)) > rows.length - ended.length) await sleep(POLL_MS);
  await lock.query('COMMIT');
  while ((await countBlocked(lock, statement)) > 0) await sleep(POLL_MS);
}
