import { rm } from 'node:fs/promises';
import path from 'node:path';
import { Client } from 'pg';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sleep } from '../../src/lib/deadline.ts';
import {
  callSandbox as call,
  openSandboxes,
  type Sandboxes,
  type SandboxInfo,
  sandboxTempo,
  topUp,
} from '../support/sandbox.ts';
import { mppxClient, pathUsdBalance, TEMPO_TESTNET } from '../support/tempo.ts';

/** A transaction of mppx is good for 25 s, and the node takes none that is good for 30 s after its newest block. */
const RESTED_MS = 6_500;

let sandboxes: Sandboxes;

beforeAll(async () => {
  sandboxes = await openSandboxes();
});

afterEach(() => sandboxes.stopAll());

afterAll(() => sandboxes.remove());

describe('a sandbox with data of its own', () => {
  it('empties the database too when the chain is lost, and says so', async () => {
    const first = await sandboxes.start('lost');
    await topUp(first);
    await sandboxes.stop(first.child, 'SIGINT');
    await rm(path.join(sandboxes.folder, 'lost', 'evm-8453', 'state.json.gz'));
    const second = await sandboxes.start('lost');
    expect(second.banner).toContain('could not be restored');
    expect(await topUp(second)).toMatchObject({ status: 200, body: { data: { newBalance: 10 } } });
  });

  it('empties database and chain when another version has migrated the database, and says so', async () => {
    const first = await sandboxes.start('other');
    const { header } = await topUp(first);
    const { databaseUrl } = (await call(first, '/sandbox/v1/info')).body as unknown as SandboxInfo;
    const client = new Client({ connectionString: databaseUrl });
    await client.connect();
    await client.query("UPDATE cell_0.migration_checksum SET sha256 = 'another' WHERE name LIKE '0004%'");
    await client.end();
    await sandboxes.stop(first.child, 'SIGINT');
    const second = await sandboxes.start('other');
    expect(second.banner).toContain('made by another version');
    expect(
      await call(second, '/api/v1/x402/top-up', undefined, { 'payment-signature': header }),
    ).toMatchObject({ status: 400, body: { error: 'PAYMENT_VERIFICATION_FAILED' } });
    expect(await topUp(second)).toMatchObject({ status: 200, body: { data: { newBalance: 10 } } });
  });

  it('goes on after kill -9 with its Tempo, pays when that has rested, and is emptied when it is lost', async () => {
    const first = await sandboxes.start('tempo');
    const tempo = await sandboxTempo(first);
    const payer = privateKeyToAccount(generatePrivateKey());
    const fund = { network: TEMPO_TESTNET, address: payer.address, amountUsd: '100' };
    expect(await call(first, '/sandbox/v1/fund', fund)).toMatchObject({ status: 200 });
    const subscribe = '/agent/mpp/subscribe?plan=startup&payment_frequency=monthly';
    const offer = await fetch(`${first.origin}${subscribe}`);
    const authorization = await mppxClient(tempo, payer).createCredential(offer);
    const bought = await call(first, subscribe, undefined, { authorization });
    expect(bought.status).toBe(200);
    await sandboxes.stop(first.child, 'SIGKILL');

    const second = await sandboxes.start('tempo');
    expect(second.banner).not.toContain('started empty');
    const after = await sandboxTempo(second);
    expect(after.payTo).toBe(tempo.payTo);
    expect(await pathUsdBalance(after, payer.address)).toBeLessThan(50_000_001n);
    expect(await pathUsdBalance(after, after.payTo)).toBe(50_000_000n);
    expect(await call(second, subscribe, undefined, { authorization })).toEqual(bought);
    await sleep(RESTED_MS);
    const status = await mppxClient(after, payer).fetch(`${second.origin}/agent/mpp/subscription`);
    expect([status.status, await status.json()]).toMatchObject([
      200,
      { user_id: bought.body['user_id'], left_days: 30 },
    ]);
    await sandboxes.stop(second.child, 'SIGINT');
    expect(await sandboxes.leftProcesses('tempo')).toEqual([]);

    await rm(path.join(sandboxes.folder, 'tempo', 'evm-42431', 'state.json.gz'));
    const third = await sandboxes.start('tempo');
    expect(third.banner).toContain('could not be restored');
    const empty = await sandboxTempo(third);
    expect(await pathUsdBalance(empty, payer.address)).toBe(0n);
    expect(await call(third, '/sandbox/v1/fund', fund)).toMatchObject({ status: 200 });
    const forgotten = await mppxClient(empty, payer).fetch(`${third.origin}/agent/mpp/subscription`);
    expect(forgotten.status).toBe(404);
    await sandboxes.stop(third.child, 'SIGINT');
  });

  it('runs twice side by side', async () => {
    const [left, right] = await Promise.all([sandboxes.start('left'), sandboxes.start('right')]);
    const answers = await Promise.all([topUp(left), topUp(right)]);
    expect(answers.map(answer => answer.status)).toEqual([200, 200]);
    const infos = await Promise.all([call(left, '/sandbox/v1/info'), call(right, '/sandbox/v1/info')]);
    expect(infos[0]?.body['databaseUrl']).not.toBe(infos[1]?.body['databaseUrl']);
  });

  it('refuses a folder that another sandbox uses', async () => {
    await sandboxes.start('shared');
    await expect(sandboxes.start('shared')).rejects.toThrow(/in use by process/);
  });
});
