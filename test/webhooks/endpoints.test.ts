import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EndpointOwner } from '../../src/webhooks/webhooks.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { createOwner } from './support.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startGateway({ seams: { allowLoopbackWebhooks: true } });
});

afterAll(() => gateway?.stop());

const ORDER = { url: 'http://127.0.0.1:9/', events: ['balance.low'], verify: false };
const GATE = 4_711;

describe('the endpoints of an owner', () => {
  it.each(['a customer', 'the operator'])(
    'are at most ten, also when %s registers many at once',
    async who => {
      const owner: EndpointOwner =
        who === 'the operator' ? { kind: 'operator', environment: 'live' } : await createOwner(gateway);
      const { webhooks } = gateway.services;
      // Everybody has counted, and nobody has stored anything, when the gate opens.
      await gateway.sql.query(
        `CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN PERFORM pg_advisory_xact_lock_shared(${GATE}); RETURN NEW; END';
       CREATE TRIGGER gate BEFORE INSERT ON directory.webhook_endpoint FOR EACH ROW EXECUTE FUNCTION gate()`,
      );
      const keeper = await gateway.sql.connect();
      try {
        await keeper.query('SELECT pg_advisory_lock($1)', [GATE]);
        const calls = Array.from({ length: 13 }, () => webhooks.register(owner, ORDER));
        const waiting = `SELECT count(*)::int AS n FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'`;
        await expect.poll(async () => (await keeper.query<{ n: number }>(waiting)).rows[0]?.n).toBe(13);
        await keeper.query('SELECT pg_advisory_unlock($1)', [GATE]);
        const kinds = (await Promise.all(calls)).map(({ kind }) => kind).toSorted();
        expect(kinds).toEqual([...Array(10).fill('registered'), ...Array(3).fill('too_many')]);
        expect(await webhooks.list(owner)).toHaveLength(10);
        expect(await webhooks.register(owner, ORDER)).toEqual({ kind: 'too_many' });
      } finally {
        keeper.release();
        await gateway.sql.query('DROP FUNCTION gate() CASCADE');
      }
    },
  );
});
