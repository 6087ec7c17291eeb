import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { inject } from 'vitest';

export interface TestDatabase {
  databaseUrl: string;
  drop(): Promise<void>;
}

/** A migrated database of one's own: a copy of the template, made in about 50 ms. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  await runAsAdmin(client => client.query(`CREATE DATABASE ${name} TEMPLATE ${inject('templateDatabase')}`));
  const url = new URL(inject('adminDatabaseUrl'));
  url.pathname = `/${name}`;
  return { databaseUrl: url.href, drop: () => drop(name) };
}

/** How long connections that were closed a moment ago may take to end. */
const ENDING_MS = 5_000;

/** A connection that the server ends, though its owner has closed it, tells nobody but the process, which ends by it. */
async function drop(name: string): Promise<void> {
  await runAsAdmin(async client => {
    const deadlineMs = performance.now() + ENDING_MS;
    const query = 'SELECT FROM pg_stat_activity WHERE datname = $1';
    while ((await client.query(query, [name])).rows.length > 0 && performance.now() < deadlineMs)
      await sleep(10);
    await client.query(`DROP DATABASE ${name} WITH (FORCE)`);
  });
}

async function runAsAdmin(work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: inject('adminDatabaseUrl') });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
