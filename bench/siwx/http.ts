import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { resolveWallet } from '../../src/customers/customers.ts';
import { migrate } from '../../src/db/migrate.ts';
import { createPool } from '../../src/db/pool.ts';
import { DEFAULT_CELL } from '../../src/db/queryable.ts';
import { openAccount } from '../../src/ledger/accounts.ts';
import { CONTRA } from '../../src/ledger/chart.ts';
import { addGrant } from '../../src/ledger/grants.ts';
import { ensurePartitions } from '../../src/ledger/partitions.ts';
import { withDeadline } from '../../src/lib/deadline.ts';
import { newId } from '../../src/lib/ids.ts';
import { startLocalPostgres } from '../../src/local/postgres.ts';
import type { ServerMessage } from '../offer/serve.ts';
import { median, progress, report } from '../report.ts';
import { type BenchWallet, createWallets, signProof } from './proofs.ts';

const CONNECTIONS = 32;
const WALLETS = 64;
const ROUNDS = 5;
const ROUND_MS = 3_000;
const WARM_UP_MS = 1_500;
const START_TIMEOUT_MS = 30_000;
const BALANCE_USD = 7n;

interface Server {
  child: ChildProcess;
  port: number;
}

async function start(argument: string, databaseUrl: string): Promise<Server> {
  const child = fork(path.resolve(import.meta.dirname, 'serve.ts'), [argument], {
    execArgv: ['--import', 'tsx'],
    env: { PATH: process.env['PATH'], NODE_ENV: 'production', DATABASE_URL: databaseUrl },
  });
  const [message] = (await withDeadline('server', START_TIMEOUT_MS, once(child, 'message'))) as [
    ServerMessage,
  ];
  if (!('port' in message)) throw new Error('the server did not say its port');
  return { child, port: message.port };
}

/** Every wallet has an account and a balance, so that the whole read is measured. */
async function fund(databaseUrl: string, wallets: readonly BenchWallet[]): Promise<void> {
  const pool = createPool({ databaseUrl, maxConnections: 1, onError: () => undefined });
  await ensurePartitions(pool, DEFAULT_CELL);
  for (const { address } of wallets) {
    const environment = 'live';
    const customer = await resolveWallet(pool, { environment, network: 'eip155:8453', address });
    const { accountId, cell } = customer;
    await openAccount(pool, cell, { accountId, environment });
    const amountNanoUsd = BALANCE_USD * 1_000_000_000n;
    const grant = { accountId, id: newId(), amountNanoUsd, source: 'promotional' } as const;
    await addGrant(pool, cell, { ...grant, contra: CONTRA.granted });
  }
  await pool.end();
}

interface Proof {
  address: string;
  proof: string;
}

/** Proofs that are signed ahead, so that signing is hardly measured; when they run out one is signed on the spot. */
function createProofs(wallets: readonly BenchWallet[], count: number): { take(): Proof } {
  const sign = (index: number): Proof => {
    const wallet = wallets[index % wallets.length];
    if (!wallet) throw new Error('there are no wallets');
    return { address: wallet.address, proof: signProof(wallet).text };
  };
  const ready = Array.from({ length: count }, (_, index) => sign(index));
  return { take: () => ready.pop() ?? sign(0) };
}

/** One balance read with a proof of its own. Throws for every answer but the right one. */
function readBalance(agent: Agent, port: number, { address, proof }: Proof) {
  return new Promise<void>((resolve, reject) => {
    const options = {
      agent,
      port,
      path: `/api/v1/x402/balance/${address}`,
      headers: { 'sign-in-with-x': proof },
    };
    get({ host: '127.0.0.1', ...options }, response => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () => {
        if (response.statusCode === 200 && body.includes(`"balanceUsd":${BALANCE_USD}`)) resolve();
        else reject(new Error(`the balance was answered ${response.statusCode}: ${body.slice(0, 200)}`));
      });
    }).on('error', reject);
  });
}

/** Processor time that the server has used. */
async function cpuMs({ child }: Server): Promise<number> {
  child.send('cpu');
  const [message] = (await withDeadline('server', START_TIMEOUT_MS, once(child, 'message'))) as [
    ServerMessage,
  ];
  return 'cpuMs' in message ? message.cpuMs : 0;
}

/** The same number of connections, each asking again as soon as it is answered. @returns answers per second */
async function load(server: Server, proofs: { take(): Proof }, durationMs: number): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const cpuBefore = await cpuMs(server);
  const startedAt = performance.now();
  let answered = 0;
  async function connection(): Promise<void> {
    while (performance.now() - startedAt < durationMs) {
      await readBalance(agent, server.port, proofs.take());
      answered += 1;
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, connection));
  const seconds = (performance.now() - startedAt) / 1_000;
  agent.destroy();
  // On a busy machine this says more than the rate.
  const eachMs = ((await cpuMs(server)) - cpuBefore) / answered;
  progress(`${(answered / seconds).toFixed(0)}/s at ${eachMs.toFixed(2)} ms of processor time each`);
  return answered / seconds;
}

/** Sign-in by the balance route, nonce and balance on a real PostgreSQL, ours and viem's verification in turn. */
export async function measureHttp(): Promise<void> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'topup-gateway-bench-'));
  const postgres = await startLocalPostgres({ dataDir, fsync: true, log: progress });
  const servers: Server[] = [];
  try {
    const { databaseUrl } = postgres;
    await migrate({ databaseUrl, cells: [DEFAULT_CELL] });
    const wallets = createWallets(WALLETS);
    await fund(databaseUrl, wallets);
    const [ours, viem] = [await start('ours', databaseUrl), await start('viem', databaseUrl)];
    servers.push(ours, viem);
    const rates: { ours: number[]; viem: number[] } = { ours: [], viem: [] };
    let expected = 2_000;
    for (let round = 0; round <= ROUNDS; round += 1) {
      // A proof dies after five minutes, so each round has its own.
      const durationMs = round === 0 ? WARM_UP_MS : ROUND_MS;
      const proofs = createProofs(wallets, Math.ceil((expected * durationMs) / 1_000));
      const one = await load(ours, proofs, durationMs);
      const other = await load(viem, proofs, durationMs);
      expected = 1.5 * (one + other);
      if (round === 0) continue;
      rates.ours.push(one);
      rates.viem.push(other);
      progress(`round ${round} of ${ROUNDS}`);
    }
    const value = median(rates.ours);
    const ratio = value / median(rates.viem);
    report({ name: 'siwx.http', value, unit: 'sign-ins/s', baseline: 'viem', ratio });
  } finally {
    for (const { child } of servers) child.kill();
    await postgres.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}
