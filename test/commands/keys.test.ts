import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { keys as keysCommand } from '../../src/commands/keys.ts';
import { resolveWallet } from '../../src/customers/customers.ts';
import { cliProgram } from '../support/cli.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';

const BASE = 'eip155:8453';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startGateway();
  vi.stubEnv('DATABASE_URL', gateway.config.databaseUrl);
});

beforeEach(async () => {
  await gateway.sql.query('DELETE FROM directory.api_key');
});

afterAll(async () => {
  vi.unstubAllEnvs();
  await gateway?.stop();
});

interface Key extends Record<string, unknown> {
  apiKey: string;
  keyId: string;
  customerId: string;
}

/** The command in this process, with what it writes and its exit code. */
async function keys(...args: string[]) {
  let text = '';
  const stdout = vi.spyOn(process.stdout, 'write').mockImplementation(chunk => {
    text += String(chunk);
    return true;
  });
  const stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  try {
    process.exitCode = undefined;
    await keysCommand(args);
    const result = (text.startsWith('{') ? JSON.parse(text) : {}) as Key & { keys: Key[] };
    return { code: process.exitCode, text, result };
  } finally {
    process.exitCode = undefined;
    stdout.mockRestore();
    stderr.mockRestore();
  }
}

const statusOf = async (url: string, apiKey: string, remoteAddress = '127.0.0.1') => {
  const headers = { authorization: `Bearer ${apiKey}` };
  return (await gateway.app.inject({ url, headers, remoteAddress })).statusCode;
};
const BALANCES = { dria: '/v1/credits/balance', aitopup: '/api/public/v1/topup/balance' };

describe('topup-gateway keys', () => {
  it('makes keys of every dialect and lists them, newest first, without the keys', async () => {
    const dria = await keys('create', '--dialect', 'dria', '--actor', 'alice');
    expect(dria).toMatchObject({
      code: 0,
      result: {
        apiKey: expect.stringMatching(/^dkn_live_[A-Za-z0-9]{40}$/),
        dialect: 'dria',
        environment: 'live',
        state: 'usable',
        createdBy: 'alice',
        capUsd: null,
        expiresAt: null,
        allowedAddresses: [],
      },
    });
    expect(await statusOf(BALANCES.dria, dria.result.apiKey)).toBe(200);
    const staging = await keys(
      'create',
      '--dialect',
      'aitopup',
      '--environment',
      'staging',
      '--actor',
      'bob',
    );
    expect(staging.result.apiKey).toMatch(/^ak_staging_/);
    expect(await statusOf(BALANCES.aitopup, staging.result.apiKey)).toBe(200);
    const mobula = await keys('create', '--dialect', 'mobula', '--environment', 'test', '--actor', 'bob');
    expect(mobula.result.apiKey).toMatch(/^mbl_test_/);

    const { result, text } = await keys('list');
    expect(result.keys.map(({ keyId }) => keyId)).toEqual(
      [mobula, staging, dria].map(made => made.result.keyId),
    );
    for (const made of [dria, staging, mobula]) expect(text).not.toContain(made.result.apiKey);
    const page = await keys('list', '--limit', '1', '--dialect', 'dria');
    expect(page.result).toMatchObject({ keys: [{ keyId: dria.result.keyId }], hasMore: false });
    const rest = await keys('list', '--before', staging.result.keyId);
    expect(rest.result.keys.map(({ keyId }) => keyId)).toEqual([dria.result.keyId]);
  });

  it('bounds a key by time, money and address', async () => {
    const expires = new Date(Date.now() + 3_600_000).toISOString();
    const bounds = [
      '--expires',
      expires,
      '--cap',
      '25.50',
      '--allow',
      '203.0.113.7',
      '--allow',
      '10.1.2.3/8',
    ];
    const made = await keys('create', '--dialect', 'dria', '--actor', 'alice', ...bounds);
    expect(made.result).toMatchObject({
      capUsd: '25.5',
      expiresAt: expires,
      allowedAddresses: ['203.0.113.7/32', '10.0.0.0/8'],
    });
    const { apiKey } = made.result;
    expect(await statusOf(BALANCES.dria, apiKey, '203.0.113.7')).toBe(200);
    expect(await statusOf(BALANCES.dria, apiKey, '10.200.0.1')).toBe(200);
    expect(await statusOf(BALANCES.dria, apiKey, '127.0.0.1')).toBe(401);
    const holder = await gateway.services.apiKeys.authenticate({
      apiKey,
      dialect: 'dria',
      callerAddress: '203.0.113.7',
    });
    expect(holder.spendingCapNanoUsd).toBe(25_500_000_000n);
  });

  it('makes and lists the keys of one customer, by its id or by a wallet', async () => {
    const address = privateKeyToAddress(generatePrivateKey());
    const wallet = `${BASE}:${address}`;
    const byWallet = await keys('create', '--dialect', 'dria', '--wallet', wallet, '--actor', 'alice');
    const { customerId } = await resolveWallet(gateway.sql, { environment: 'live', network: BASE, address });
    expect(byWallet.result).toMatchObject({ customerId, environment: 'live' });
    const byId = await keys('create', '--dialect', 'dria', '--customer', customerId, '--actor', 'alice');
    expect(byId.result.customerId).toBe(customerId);
    await keys('create', '--dialect', 'dria', '--actor', 'alice');
    for (const owner of [
      ['--wallet', wallet],
      ['--customer', customerId.toUpperCase()],
    ]) {
      const { result } = await keys('list', ...owner);
      expect(result.keys.map(({ keyId }) => keyId)).toEqual([byId.result.keyId, byWallet.result.keyId]);
    }
    const test = ['--customer', customerId, '--environment', 'test'];
    const crossed = await keys('create', '--dialect', 'dria', '--actor', 'alice', ...test);
    expect([crossed.code, crossed.result]).toMatchObject([1, { outcome: 'refused' }]);
  });

  it('ends a key once, says who did, and leaves what had ended as it was', async () => {
    const { result } = await keys('create', '--dialect', 'dria', '--actor', 'alice');
    const revoked = await keys('revoke', result.keyId, '--actor', 'bob');
    expect([revoked.code, revoked.result]).toMatchObject([
      0,
      { changed: true, state: 'revoked', createdBy: 'alice', revokedBy: 'bob' },
    ]);
    // Nobody has asked for it before, so nobody remembers it.
    expect(await statusOf(BALANCES.dria, result.apiKey)).toBe(401);
    const again = await keys('revoke', result.keyId, '--actor', 'carol');
    expect([again.code, again.result]).toMatchObject([0, { changed: false, revokedBy: 'bob' }]);
    expect(again.result['revokedAt']).toBe(revoked.result['revokedAt']);
    expect((await keys('list', '--usable')).result.keys).toEqual([]);
    expect((await keys('revoke', '01a1fafa-e567-7697-b12b-f32732332f41', '--actor', 'bob')).code).toBe(1);
  });

  const create = ['create', '--dialect', 'dria', '--actor', 'alice'];

  it.each<[string, string[]]>([
    ['no verb', []],
    ['no actor', ['create', '--dialect', 'dria']],
    ['an empty actor', ['create', '--dialect', 'dria', '--actor', ' ']],
    ['another dialect', ['create', '--dialect', 'venice', '--actor', 'alice']],
    ['two owners', [...create, '--wallet', `${BASE}:0x${'1'.repeat(40)}`, '--customer', 'x']],
    ['a wallet that is none', [...create, '--wallet', 'alice']],
    [
      'a live key of a test wallet',
      [...create, '--environment', 'live', '--wallet', `eip155:84532:0x${'1'.repeat(40)}`],
    ],
    ['an expiry that has passed', [...create, '--expires', '2020-01-01T00:00:00Z']],
    ['an expiry without a zone', [...create, '--expires', '2099-01-01T00:00:00']],
    ['a cap of nothing', [...create, '--cap', '0']],
    ['a cap beyond the ledger', [...create, '--cap', '9999999999999999']],
    ['an address that is none', [...create, '--allow', 'office']],
    ['a page without end', ['list', '--limit', '1000']],
    ['a key that is none', ['revoke', 'dkn_live_x', '--actor', 'bob']],
    ['an unknown option', ['list', '--everything']],
  ])('says how it is called, and makes nothing: %s', async (_, args) => {
    expect((await keys(...args)).code).toBe(2);
    const { rows } = await gateway.sql.query('SELECT 1 FROM directory.api_key');
    expect(rows).toEqual([]);
  });

  it('shows people a table, and the key once', async () => {
    const isTty = Object.getOwnPropertyDescriptor(process.stdout, 'isTTY');
    Object.defineProperty(process.stdout, 'isTTY', { value: true, configurable: true });
    try {
      const made = await keys(...create, '--cap', '5');
      expect(made.text).toMatch(/^dkn_live_\w{40}\nThis key is not shown again\.\n\nkey +ends in +dialect/);
      const listed = await keys('list');
      expect(listed.text.split('\n')[1]).toMatch(
        /^[0-9a-f-]{36} +\w{4} +dria +live +usable +[0-9a-f-]{36} +5 /,
      );
      expect((await keys('list', '--json')).text).toMatch(/^\{/);
    } finally {
      if (isTty) Object.defineProperty(process.stdout, 'isTTY', isTty);
      else Reflect.deleteProperty(process.stdout, 'isTTY');
    }
  });

  it('is a command', async () => {
    const env = { PATH: process.env['PATH'], DATABASE_URL: gateway.config.databaseUrl };
    const call = promisify(execFile)(process.execPath, [cliProgram(), 'keys', 'list'], { env });
    expect(JSON.parse((await call).stdout)).toEqual({ keys: [], hasMore: false });
  });
});
