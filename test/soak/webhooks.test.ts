import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createFundedKey } from '../../src/accounts/funded-keys.ts';
import { createCustomer } from '../../src/customers/customers.ts';
import { sleep } from '../../src/lib/deadline.ts';
import { newId } from '../../src/lib/ids.ts';
import { createSealer } from '../../src/lib/sealed.ts';
import { insertEndpoint } from '../../src/webhooks/endpoints.ts';
import { secretContext } from '../../src/webhooks/secrets.ts';
import { createWebhookSecret } from '../../src/webhooks/signing.ts';
import { prepareGateway } from '../support/gateway.ts';
import { startReceiver } from '../support/receiver.ts';

const GATEWAY = path.join(inject('programs'), 'crash-gateway.mjs');

const EVENTS = 10_000;
const ACCOUNTS = 10;
const ENDPOINTS_EACH = 5;
/** The first endpoint of five accounts hangs, that of the other five fails. */
const HANGING = 5;
const BATCH = 20;
const PAUSE_MS = 250;

let prepared: Awaited<ReturnType<typeof prepareGateway>>;
let sql: Pool;
let gateway: ChildProcess;
let gatewayOrigin: string;

async function startProcess(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [GATEWAY], {
    env: { PATH: process.env['PATH'], ...prepared.env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  gatewayOrigin = `http://127.0.0.1:${(JSON.parse(line) as { port: number }).port}`;
  return child;
}

async function end(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}

beforeAll(async () => {
  prepared = await prepareGateway();
  sql = new Pool({ connectionString: prepared.database.databaseUrl, max: 4 });
  gateway = await startProcess();
});

afterAll(async () => {
  if (gateway) await end(gateway, 'SIGTERM');
  await sql?.end();
  await prepared?.database.drop();
});

/** An endpoint of the account, as the dialect registers it. */
async function register(owner: { customerId: string; accountId: bigint }, url: string): Promise<void> {
  const endpointId = newId();
  const secret = createSealer([]).seal(createWebhookSecret(), secretContext(endpointId));
  const cell = 'cell_0' as never;
  const order = { endpointId, url, events: ['balance.low'], secret, max: 100 };
  await insertEndpoint(sql, { kind: 'aitopup', environment: 'live', cell, ...owner }, order);
}

/** Commits events `from` to `to`, each of the next account in turn. */
async function emit(accounts: readonly bigint[], from: number, to: number): Promise<void> {
  const numbers = Array.from({ length: to - from }, (_, index) => from + index);
  await sql.query(
    `INSERT INTO cell_0.outbox (event_id, account_id, environment, type, payload)
     SELECT gen_random_uuid(), a, 'live', 'balance.low', jsonb_build_object('n', n)
     FROM unnest($1::bigint[], $2::int[]) u(a, n)`,
    [numbers.map(n => accounts[n % accounts.length]), numbers],
  );
}

/** Receives for many endpoints at once: what came to each path, and how late. */
async function startReceivers() {
  const arrivals = new Map<string, number[]>();
  const committedAtMs: number[] = [];
  const latenciesMs: number[] = [];
  const server: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      const url = request.url ?? '';
      const { n } = (JSON.parse(body) as { data: { n: number } }).data;
      const seen = arrivals.get(url) ?? [];
      if (url.startsWith('/good')) latenciesMs.push(performance.now() - (committedAtMs[n] ?? 0));
      seen.push(n);
      arrivals.set(url, seen);
      if (url.startsWith('/hang')) return;
      response.writeHead(url.startsWith('/fail') ? 500 : 200).end();
    });
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    arrivals,
    committedAtMs,
    latenciesMs,
    close() {
      server.closeAllConnections();
      return new Promise(resolve => server.close(resolve));
    },
  };
}

type Receivers = Awaited<ReturnType<typeof startReceivers>>;

async function openAccounts(receivers: Receivers): Promise<{ accountId: bigint; paths: string[] }[]> {
  const accounts = [];
  for (let a = 0; a < ACCOUNTS; a += 1) {
    const customer = await createCustomer(sql, 'live');
    const paths = [`${a < HANGING ? '/hang' : '/fail'}-${a}`];
    for (let e = 1; e < ENDPOINTS_EACH; e += 1) paths.push(`/good-${a}-${e}`);
    for (const each of paths) await register(customer, receivers.origin + each);
    accounts.push({ accountId: customer.accountId, paths });
  }
  return accounts;
}

/** Emits a share of the events at a steady pace, and remembers when each was committed. */
async function emitSteadily(receivers: Receivers, accounts: readonly bigint[], from: number, to: number) {
  for (let n = from; n < to; n += BATCH) {
    await emit(accounts, n, n + BATCH);
    for (let each = n; each < n + BATCH; each += 1) receivers.committedAtMs[each] = performance.now();
    await sleep(PAUSE_MS);
  }
}

/** Attempts in the log by the path of their endpoint. */
async function attemptsByPath(origin: string): Promise<ReadonlyMap<string, number>> {
  const { rows } = await sql.query<{ url: string; n: number }>(
    `SELECT e.url, sum(jsonb_array_length(d.attempts))::int AS n FROM cell_0.webhook_delivery d
     JOIN directory.webhook_endpoint e USING (endpoint_id) GROUP BY 1`,
  );
  return new Map(rows.map(({ url, n }) => [url.replace(origin, ''), n]));
}

/** Deliveries to the endpoints of a pattern, by state and number of attempts. */
async function outcomes(endpoint: string): Promise<{ state: string; attempts: number; n: number }[]> {
  const { rows } = await sql.query<{ state: string; attempts: number; n: number }>(
    `SELECT d.state, jsonb_array_length(d.attempts) AS attempts, count(*)::int AS n
     FROM cell_0.webhook_delivery d JOIN directory.webhook_endpoint e USING (endpoint_id)
     WHERE e.url LIKE $1 GROUP BY 1, 2 ORDER BY 1, 2`,
    [endpoint],
  );
  return rows;
}

/** Waits until nothing is under way any more: every event has its deliveries, and every delivery its end. */
async function expectAllFinal(): Promise<void> {
  const unfinished = async () => {
    const { rows } = await sql.query<{ events: number; deliveries: number }>(
      `SELECT (SELECT count(*)::int FROM cell_0.outbox WHERE fanned_out_at IS NULL) AS events,
         (SELECT count(*)::int FROM cell_0.webhook_delivery WHERE state = 'pending') AS deliveries`,
    );
    return rows[0];
  };
  await expect.poll(unfinished, { timeout: 300_000, interval: 1_000 }).toEqual({ events: 0, deliveries: 0 });
}

function expectedOf(account: number, count: number): number[] {
  return Array.from({ length: count }, (_, n) => n).filter(n => n % ACCOUNTS === account);
}

const ascending = (numbers: readonly number[] = []) => [...numbers].toSorted((a, b) => a - b);

describe(`${EVENTS} events to ${ACCOUNTS * ENDPOINTS_EACH} endpoints, of which five hang and five fail`, () => {
  it('reach every good endpoint once, and every failing one in three attempts', async () => {
    const receivers = await startReceivers();
    const accounts = await openAccounts(receivers);
    const ids = accounts.map(each => each.accountId);
    await emitSteadily(receivers, ids, 0, EVENTS);
    const goodCount = EVENTS * (ENDPOINTS_EACH - 1);
    await expect
      .poll(() => receivers.latenciesMs.length, { timeout: 300_000, interval: 100 })
      .toBeGreaterThanOrEqual(goodCount);
    const sorted = ascending(receivers.latenciesMs);
    const at = (share: number) => Math.round(sorted[Math.floor(sorted.length * share)] ?? 0);
    console.log(
      `webhook soak: ${sorted.length} deliveries to good endpoints, from commit to arrival p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${Math.round(sorted.at(-1) ?? 0)} ms`,
    );
    await expect
      .poll(() => outcomes(`${receivers.origin}/fail-%`), { timeout: 300_000, interval: 1_000 })
      .toEqual([{ state: 'failed', attempts: 3, n: EVENTS / 2 }]);
    const attempts = await attemptsByPath(receivers.origin);
    for (const [a, { paths }] of accounts.entries()) {
      const expected = expectedOf(a, EVENTS);
      for (const each of paths.filter(name => !name.startsWith('/hang'))) {
        const arrived = receivers.arrivals.get(each) ?? [];
        expect(ascending([...new Set(arrived)])).toEqual(expected);
        // No arrival without its attempt in the log. A machine that is busy for ten seconds makes an attempt time
        // out that had arrived, and then there is a second one.
        expect(arrived).toHaveLength(attempts.get(each) ?? 0);
        if (each.startsWith('/fail')) expect(arrived).toHaveLength(3 * expected.length);
      }
    }
    // Those that hang would need days for their attempts.
    await sql.query("DELETE FROM directory.webhook_endpoint WHERE url LIKE '%/hang-%'");
    await expectAllFinal();
    const good = await outcomes(`${receivers.origin}/good-%`);
    expect(good.every(({ state }) => state === 'succeeded')).toBe(true);
    expect(good.reduce((sum, { n }) => sum + n, 0)).toBe(goodCount);
    await receivers.close();
  });

  it('lose nothing when the dispatcher is killed in the middle', async () => {
    const receivers = await startReceivers();
    const accounts = await openAccounts(receivers);
    await sql.query("DELETE FROM directory.webhook_endpoint WHERE url LIKE '%/hang-%'");
    const ids = accounts.map(each => each.accountId);
    const total = EVENTS / 5;
    const emitted = emitSteadily(receivers, ids, 0, total);
    for (let kills = 0; kills < 3; kills += 1) {
      await sleep(2_000);
      await end(gateway, 'SIGKILL');
      gateway = await startProcess();
    }
    await emitted;
    await expectAllFinal();
    for (const [a, { paths }] of accounts.entries()) {
      const expected = expectedOf(a, total);
      for (const each of paths.filter(name => !name.startsWith('/hang'))) {
        const arrived = receivers.arrivals.get(each) ?? [];
        expect(ascending([...new Set(arrived)])).toEqual(expected);
        // What a kill cut off is attempted again: more than the log knows of, never less.
        expect(arrived.length).toBeGreaterThanOrEqual(expected.length * (each.startsWith('/fail') ? 3 : 1));
      }
    }
    expect(await outcomes(`${receivers.origin}/fail-%`)).toEqual([
      { state: 'failed', attempts: 3, n: total / 2 },
    ]);
    const good = await outcomes(`${receivers.origin}/good-%`);
    expect(good.map(({ state }) => state)).toEqual(good.map(() => 'succeeded'));
    expect(good.reduce((sum, { n }) => sum + n, 0)).toBe(total * (ENDPOINTS_EACH - 1));
    await receivers.close();
  });
});

describe('the schedule by the real clock', () => {
  it('is 0, 5 and 30 seconds, and there is no fourth attempt', async () => {
    const [mended, broken] = [await startReceiver(), await startReceiver()];
    mended.answers = [500, 500, 200];
    broken.answers = [500];
    const { apiKey, customerId } = await createFundedKey(sql, { dialect: 'aitopup', environment: 'live' });
    const { rows: accounts } = await sql.query<{ account_id: string }>(
      'SELECT account_id FROM directory.customer WHERE customer_id = $1',
      [customerId],
    );
    const accountId = BigInt(accounts[0]?.account_id ?? 0);
    await register({ customerId, accountId }, mended.url);
    await register({ customerId, accountId }, broken.url);
    await emit([accountId], 0, 1);
    await expect
      .poll(() => [mended, broken].map(each => each.arrivals.length), { timeout: 60_000, interval: 200 })
      .toEqual([3, 3]);
    for (const { arrivals } of [mended, broken]) {
      const [first = 0, second = 0, third = 0] = arrivals.map(({ atMs }) => atMs);
      // Never early; how late depends on the machine.
      expect(second - first).toBeGreaterThanOrEqual(4_990);
      expect(third - second).toBeGreaterThanOrEqual(29_990);
      console.log(`webhook soak: waits of ${second - first} ms and ${third - second} ms`);
      expect(new Set(arrivals.map(({ body }) => body)).size).toBe(1);
      expect(new Set(arrivals.map(({ headers }) => headers['webhook-timestamp'])).size).toBe(3);
    }
    await sleep(85_000);
    expect(broken.arrivals).toHaveLength(3);
    const answer = await fetch(`${gatewayOrigin}/api/public/v1/webhooks/deliveries`, {
      headers: { authorization: `Bearer ${apiKey}` },
    });
    const { data } = (await answer.json()) as { data: { deliveries: Record<string, unknown>[] } };
    const shown = data.deliveries.map(({ state, code, next_attempt_at: next, attempts }) => ({
      state,
      code,
      next,
      statuses: (attempts as { http_status: number }[]).map(each => each.http_status),
    }));
    expect(shown.toSorted((x, y) => String(x.state).localeCompare(String(y.state)))).toEqual([
      { state: 'failed', code: 5001, next: null, statuses: [500, 500, 500] },
      { state: 'succeeded', code: 1000, next: null, statuses: [500, 500, 200] },
    ]);
    await mended.close();
    await broken.close();
  });
});
