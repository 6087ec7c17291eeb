import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Client } from 'pg';
import { Pool } from 'undici';
import { migrate } from '../src/db/migrate.ts';
import { DEFAULT_CELL } from '../src/db/queryable.ts';
import { reconcileLedger } from '../src/ledger/reconcile.ts';
import { withDeadline } from '../src/lib/deadline.ts';
import { startLocalPostgres } from '../src/local/postgres.ts';
import type { ServerMessage } from './offer/serve.ts';
import { median, progress, report } from './report.ts';
import { startEvmRail } from './topup/evm.ts';
import type { Offer, Rail } from './topup/rail.ts';
import { startSvmRail } from './topup/svm.ts';

const ROUTE = '/api/v1/x402/top-up';
const CONNECTIONS = 32;
/** Both run slowly until the engine has compiled what is called often. */
const WARM_UP_PAYMENTS = 2_000;
const START_TIMEOUT_MS = 30_000;
const ANSWER_TIMEOUT_MS = 60_000;

/** How each chain starts, and payments in a round: long enough that its begin and its end do not count. */
const RAILS: Record<Rail['name'], { start(): Promise<Rail>; payments: string }> = {
  // With every block anvil needs longer for the next one.
  evm: { start: startEvmRail, payments: '500' },
  svm: { start: startSvmRail, payments: '1000' },
};

const USAGE = `npm run bench -- topup [--payments N] [--rounds 7] [--only evm]

Full paid top-ups per second over ${CONNECTIONS} connections, from the request to the committed credit, on a chain that
includes a transaction at once. A round has ${RAILS.evm.payments} payments on Base and ${RAILS.svm.payments} on Solana,
signed before. The baseline is the official Express middleware with the official facilitator classes as published in its
process, on the same chain in the same run; it credits nothing.`;

/** Prints rate, p50 and p99 against the baseline, servers in turn. Throws when any payment or book is wrong. */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      payments: { type: 'string' },
      rounds: { type: 'string', default: '7' },
      only: { type: 'string', default: '' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return progress(USAGE);
  const dataDir = await mkdtemp(path.join(tmpdir(), 'topup-gateway-bench-'));
  const postgres = await startLocalPostgres({ dataDir, fsync: true, log: progress });
  try {
    for (const [name, { start: startRail, payments }] of Object.entries(RAILS)) {
      if (!name.includes(values.only)) continue;
      await migrate({ databaseUrl: postgres.databaseUrl, cells: [DEFAULT_CELL] });
      const rail = await startRail();
      try {
        const { databaseUrl } = postgres;
        await compare(rail, {
          databaseUrl,
          payments: Number(values.payments ?? payments),
          rounds: Number(values.rounds),
        });
      } finally {
        await rail.stop();
      }
    }
  } finally {
    await postgres.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

interface Server {
  child: ChildProcess;
  pool: Pool;
  offer: Offer;
  paid: number;
  rounds: Round[];
}

interface Round {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
}

async function compare(
  rail: Rail,
  options: { databaseUrl: string; payments: number; rounds: number },
): Promise<void> {
  const { databaseUrl, payments, rounds } = options;
  const servers: Server[] = [];
  try {
    const ours = await start('ours', { ...(await rail.newServerEnv()), DATABASE_URL: databaseUrl });
    servers.push(ours);
    const official = await start('official-express', await rail.newServerEnv());
    servers.push(official);
    for (const server of servers) await pay(server, await rail.sign(server.offer, WARM_UP_PAYMENTS));
    for (let round = 1; round <= rounds; round += 1) {
      for (const server of servers) {
        const before = await cpuMs(server.child);
        const measured = await pay(server, await rail.sign(server.offer, payments));
        server.rounds.push(measured);
        const perPayment = ((await cpuMs(server.child)) - before) / payments;
        progress(
          `${server === ours ? 'ours' : 'official-express'}, round ${round} of ${rounds}: ` +
            `${measured.perSecond.toFixed(0)}/s, p50 ${measured.p50Ms.toFixed(0)} ms, ` +
            `p99 ${measured.p99Ms.toFixed(0)} ms, ${perPayment.toFixed(1)} ms of processor time each`,
        );
      }
    }
    for (const server of servers) await checkReceived(rail, server);
    await checkBooks(databaseUrl, ours);
    print(`topup.${rail.name}`, ours, official);
  } finally {
    for (const { child, pool } of servers) {
      await pool.close();
      child.kill();
    }
  }
}

async function start(name: 'ours' | 'official-express', env: Record<string, string>): Promise<Server> {
  const child = fork(path.resolve(import.meta.dirname, 'topup', `${name}.ts`), {
    execArgv: ['--import', 'tsx'],
    env: {
      PATH: process.env['PATH'],
      NODE_ENV: 'production',
      HOST: '127.0.0.1',
      PORT: '0',
      PUBLIC_ORIGIN: 'http://127.0.0.1:4020',
      LOG_LEVEL: 'silent',
      RATE_LIMITS: 'off',
      ...env,
    },
  });
  const message = await nextMessage(child);
  if (!('port' in message)) throw new Error(`${name} did not say its port`);
  const pool = new Pool(`http://127.0.0.1:${message.port}`, { connections: CONNECTIONS, pipelining: 1 });
  return { child, pool, offer: await askOffer(pool), paid: 0, rounds: [] };
}

/** Both servers must ask for the same: an amount of one asset, to be paid by a signed transfer. */
async function askOffer(pool: Pool): Promise<Offer> {
  const { statusCode, headers, body } = await pool.request({ path: ROUTE, method: 'POST' });
  await body.dump();
  const header = headers['payment-required'];
  if (statusCode !== 402 || typeof header !== 'string') throw new Error(`no offer but ${statusCode}`);
  const { accepts } = JSON.parse(Buffer.from(header, 'base64').toString('utf8')) as { accepts: Offer[] };
  const [offer] = accepts;
  if (!offer || accepts.length !== 1) throw new Error('there must be one way to pay');
  return offer;
}

/** Sends all payments over the connections, each as soon as one is free. */
async function pay(server: Server, headers: readonly string[]): Promise<Round> {
  const latencies: number[] = [];
  const queue = headers.values();

  async function connection(): Promise<void> {
    for (const header of queue) {
      const startedMs = performance.now();
      const { statusCode, body } = await server.pool.request({
        path: ROUTE,
        method: 'POST',
        headers: { 'payment-signature': header },
        headersTimeout: ANSWER_TIMEOUT_MS,
        bodyTimeout: ANSWER_TIMEOUT_MS,
      });
      const text = await body.text();
      if (statusCode !== 200) throw new Error(`a payment was answered ${statusCode}: ${text.slice(0, 300)}`);
      latencies.push(performance.now() - startedMs);
    }
  }

  const startedMs = performance.now();
  await Promise.all(Array.from({ length: CONNECTIONS }, connection));
  const seconds = (performance.now() - startedMs) / 1_000;
  server.paid += headers.length;
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor(latencies.length * share)] ?? Number.NaN;
  return { perSecond: headers.length / seconds, p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** Whoever answered 200 must have been paid, and no more than that. */
async function checkReceived(rail: Rail, { offer, paid }: Server): Promise<void> {
  const received = await rail.received(offer.payTo);
  const expected = BigInt(offer.amount) * BigInt(paid);
  if (received !== expected) throw new Error(`${offer.payTo} received ${received} instead of ${expected}`);
}

/** Every payment is credited, nothing else is, and the ledger's own proof finds nothing. */
async function checkBooks(databaseUrl: string, { offer, paid }: Server): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { breaks } = await reconcileLedger(client, DEFAULT_CELL);
    if (breaks.length > 0) throw new Error(`the books are wrong: ${JSON.stringify(breaks[0]?.problem)}`);
    const { rows } = await client.query<{ state: string; count: string; nano: string }>(
      `SELECT state, count(*), sum(credited_nano_usd) AS nano FROM "${DEFAULT_CELL}".payment
       WHERE network = $1 GROUP BY state`,
      [offer.network],
    );
    const nano = BigInt(offer.amount) * 1_000n * BigInt(paid);
    const [row] = rows;
    if (rows.length !== 1 || row?.state !== 'credited' || BigInt(row.nano) !== nano) {
      throw new Error(`not every payment is credited: ${JSON.stringify(rows)}`);
    }
  } finally {
    await client.end();
  }
}

function print(name: string, ours: Server, official: Server): void {
  const pick = (server: Server, key: keyof Round) => median(server.rounds.map(round => round[key]));
  const baseline = 'official-express';
  const rate = pick(ours, 'perSecond');
  report({ name, value: rate, unit: 'top-ups/s', baseline, ratio: rate / pick(official, 'perSecond') });
  for (const [suffix, key] of [
    ['p50', 'p50Ms'],
    ['p99', 'p99Ms'],
  ] as const) {
    const value = pick(ours, key);
    report({ name: `${name}.${suffix}`, value, unit: 'ms', baseline, ratio: pick(official, key) / value });
  }
}

async function nextMessage(child: ChildProcess): Promise<ServerMessage> {
  const [message] = (await withDeadline('server', START_TIMEOUT_MS, once(child, 'message'))) as [
    ServerMessage,
  ];
  return message;
}

async function cpuMs(child: ChildProcess): Promise<number> {
  child.send('cpu');
  const message = await nextMessage(child);
  return 'cpuMs' in message ? message.cpuMs : 0;
}
