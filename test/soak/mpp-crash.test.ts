import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { LocalEvmChain } from '../../src/local/evm-chain.ts';
import { ledgerBreaks } from '../dialects/mobula/mobula-gateway.ts';
import { prepareGateway, startGateway, type TestGateway } from '../support/gateway.ts';
import {
  challengeOf,
  createTempoPayer,
  credentialFor,
  pathUsdBalance,
  pushCredential,
  pushTransfer,
  sendCredential,
  startLocalTempo,
  TEMPO_TESTNET,
  type TempoGateway,
} from '../support/tempo.ts';

const GATEWAY = path.resolve(import.meta.dirname, '../support/crash-gateway.ts');
const SUBSCRIBE = '/subscribe?plan=startup&payment_frequency=monthly';
const tempoPayTo = privateKeyToAddress(generatePrivateKey());

const children = new Set<ChildProcess>();
let chain: LocalEvmChain;
let prepared: Awaited<ReturnType<typeof prepareGateway>>;

beforeAll(async () => {
  chain = await startLocalTempo();
  prepared = await prepareGateway({
    NETWORKS: `eip155:8453,${TEMPO_TESTNET}`,
    TEMPO_RPC_URL: chain.rpcUrl,
    TEMPO_PAY_TO: tempoPayTo,
  });
}, 60_000);
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
});
afterAll(async () => {
  await prepared?.database.drop();
  await chain?.stop();
});

async function startProcess(crashAt: string): Promise<{ child: ChildProcess; at: TempoGateway }> {
  const child = spawn(process.execPath, ['--import', 'tsx', GATEWAY], {
    env: { PATH: process.env['PATH'], ...prepared.env, CRASH_AT: crashAt },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const origin = `http://127.0.0.1:${(JSON.parse(line) as { port: number }).port}`;
  return { child, at: { origin, chain, tempoPayTo } as TempoGateway };
}

describe('a gateway that is killed with SIGKILL while it takes a payment by MPP', () => {
  it.each([
    ['pull', 'before-send'],
    ['pull', 'before-credit'],
    ['push', 'before-credit'],
  ] as const)('finishes it at its next start, once: %s, killed %s', async (mode, crashAt) => {
    const payer = await createTempoPayer(chain);
    const before = await pathUsdBalance(chain, tempoPayTo);
    const first = await startProcess(crashAt);
    const killed = once(first.child, 'exit');
    let credential: string;
    if (mode === 'pull') credential = await credentialFor(first.at, payer, SUBSCRIBE);
    else {
      const challenge = await challengeOf(first.at, SUBSCRIBE);
      const transfer = { payer, challenge, to: tempoPayTo, amountBaseUnits: 50_000_000n };
      credential = pushCredential(challenge, await pushTransfer(chain, transfer), payer.address);
    }
    await expect(sendCredential(first.at, SUBSCRIBE, credential)).rejects.toThrow();
    await killed;

    // Nobody asks for it: the reconciler of the next process alone finishes the purchase.
    const next: TestGateway = await startGateway({ replicaOf: { env: prepared.env } as TestGateway });
    const periods = async () => {
      const { rows } = await next.sql.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM cell_0.plan_period s JOIN cell_0.payment p USING (payment_id)
         WHERE p.payer = $1`,
        [payer.address.toLowerCase()],
      );
      return rows[0]?.n;
    };
    await expect.poll(periods, { timeout: 20_000 }).toBe(1);
    const url = `/agent/mpp${SUBSCRIBE}`;
    const again = await next.app.inject({ url, headers: { authorization: credential } });
    expect([again.statusCode, again.json()]).toMatchObject([
      200,
      { api_key: expect.stringMatching(/^mbl_/) },
    ]);
    expect(await periods()).toBe(1);
    expect((await pathUsdBalance(chain, tempoPayTo)) - before).toBe(50_000_000n);
    expect(await ledgerBreaks(next)).toEqual([]);
    await next.stop();
  });
});
