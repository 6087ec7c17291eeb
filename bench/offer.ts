import { type ChildProcess, execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import path from 'node:path';
import { promisify } from 'node:util';
import { withDeadline } from '../src/lib/deadline.ts';
import type { ServerMessage } from './offer/serve.ts';
import { median, progress, report } from './report.ts';

const ROUTE = '/api/v1/x402/top-up';
const SERVERS = ['ours', 'hono', 'empty-route'] as const;
type ServerName = (typeof SERVERS)[number];

const CONNECTIONS = 32;
const WARM_UP_SECONDS = 2;
const ROUND_SECONDS = 5;
const ROUNDS = 3;
const START_TIMEOUT_MS = 20_000;
/** Added to the load's own duration. */
const LOAD_GRACE_MS = 15_000;

const AUTOCANNON = createRequire(import.meta.url).resolve('autocannon/autocannon.js');
const execute = promisify(execFile);

interface Server {
  url: string;
  child: ChildProcess;
}

async function nextMessage(child: ChildProcess): Promise<ServerMessage> {
  const [message] = (await withDeadline('server', START_TIMEOUT_MS, once(child, 'message'))) as [
    ServerMessage,
  ];
  return message;
}

async function start(name: ServerName): Promise<Server> {
  const child = fork(path.resolve(import.meta.dirname, 'offer', `${name}.ts`), {
    execArgv: ['--import', 'tsx'],
    env: { PATH: process.env['PATH'], NODE_ENV: 'production' },
  });
  const message = await nextMessage(child);
  if (!('port' in message)) throw new Error(`${name} did not say its port`);
  return { child, url: `http://127.0.0.1:${message.port}${ROUTE}` };
}

async function cpuMs(child: ChildProcess): Promise<number> {
  child.send('cpu');
  const message = await nextMessage(child);
  return 'cpuMs' in message ? message.cpuMs : 0;
}

/** The baseline must do the same job: an offer without its price list would be an unfair comparison. */
async function checkOffer(name: ServerName, { url }: Server): Promise<void> {
  const answer = await fetch(url, { method: 'POST', signal: AbortSignal.timeout(START_TIMEOUT_MS) });
  await answer.text();
  const priced = answer.headers.has('payment-required');
  if (answer.status !== 402 || priced !== (name !== 'empty-route')) {
    throw new Error(`${name} answered ${answer.status}, ${priced ? 'with' : 'without'} a price list`);
  }
}

interface LoadResult {
  duration: number;
  errors: number;
  timeouts: number;
  statusCodeStats: Record<string, { count: number }>;
}

/** Loads one server from a process of its own. @returns 402 answers per second */
async function load({ url }: Server, seconds: number): Promise<number> {
  const options = ['--json', '--no-progress', '-m', 'POST', '-c', String(CONNECTIONS), '-d', String(seconds)];
  const { stdout } = await execute(process.execPath, [AUTOCANNON, ...options, url], {
    timeout: seconds * 1000 + LOAD_GRACE_MS,
    maxBuffer: 10_000_000,
  });
  const result = JSON.parse(stdout) as LoadResult;
  const statuses = Object.keys(result.statusCodeStats);
  if (result.errors > 0 || result.timeouts > 0 || statuses.join() !== '402') {
    throw new Error(`the load met ${result.errors} errors and statuses ${statuses.join()}`);
  }
  return (result.statusCodeStats['402']?.count ?? 0) / result.duration;
}

async function measure(name: ServerName, server: Server): Promise<number> {
  const before = await cpuMs(server.child);
  const rate = await load(server, ROUND_SECONDS);
  const share = ((await cpuMs(server.child)) - before) / (ROUND_SECONDS * 10);
  // Well below 100 the load generator was the limit, and the figure says less about the server.
  progress(`${name}: ${rate.toFixed(0)}/s at ${share.toFixed(0)} % of a core`);
  return rate;
}

/** 402 offers per second over loopback, the servers in turn, each in a process of its own. */
export async function run(): Promise<void> {
  const servers = new Map<ServerName, Server>();
  const rates: Record<ServerName, number[]> = { ours: [], hono: [], 'empty-route': [] };
  try {
    for (const name of SERVERS) servers.set(name, await start(name));
    for (const [name, server] of servers) {
      await checkOffer(name, server);
      await load(server, WARM_UP_SECONDS);
    }
    for (let round = 1; round <= ROUNDS; round += 1) {
      progress(`round ${round} of ${ROUNDS}`);
      for (const [name, server] of servers) rates[name].push(await measure(name, server));
    }
  } finally {
    for (const { child } of servers.values()) child.kill();
  }
  const value = median(rates.ours);
  for (const baseline of ['hono', 'empty-route'] as const) {
    report({
      name: 'offer',
      value,
      unit: 'offers/s',
      baseline,
      ratio: value / median(rates[baseline]),
    });
  }
}
