import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config/config.ts';
import { ConfigError } from '../../../src/config/read.ts';

const GOOD = {
  DATABASE_URL: 'postgres://db/gateway',
  PUBLIC_ORIGIN: 'https://pay.example.com',
  EVM_PAY_TO: '0x2670B922ef37C7Df47158725C0CC407b5382293F',
  EVM_PRIVATE_KEY: `0x${'ab'.repeat(32)}`,
  BASE_RPC_URL: 'https://rpc.example.com',
};

function problemsOf(mode: 'serve' | 'sandbox', env: Record<string, string>): readonly string[] {
  try {
    loadConfig(mode, mode === 'serve' ? { ...GOOD, ...env } : env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

describe('WEBHOOK_ALLOW_LOOPBACK', () => {
  it('is refused by serve, and good in the sandbox', () => {
    const WEBHOOK_ALLOW_LOOPBACK = 'true';
    expect(problemsOf('serve', { WEBHOOK_ALLOW_LOOPBACK })).toEqual([
      'WEBHOOK_ALLOW_LOOPBACK is for development alone',
    ]);
    expect(loadConfig('sandbox', { WEBHOOK_ALLOW_LOOPBACK }).webhooks.allowLoopback).toBe(true);
    expect(loadConfig('serve', GOOD).webhooks.allowLoopback).toBe(false);
  });

  it.each(['yes', '1', 'TRUE'])('is true or false, not %s', WEBHOOK_ALLOW_LOOPBACK => {
    expect(problemsOf('serve', { WEBHOOK_ALLOW_LOOPBACK })).toEqual([
      "WEBHOOK_ALLOW_LOOPBACK must be 'true' or 'false'",
    ]);
  });
});

describe('WEBHOOK_RETRY_SECONDS', () => {
  const WEEK = 7 * 86_400;

  it.each([
    ['0', [0]],
    [' 7, 11 ,60 ', [7, 11, 60]],
    [Array(20).fill(WEEK).join(), Array(20).fill(WEEK)],
  ])('is a list of waits: %s', (WEBHOOK_RETRY_SECONDS, seconds) => {
    expect(loadConfig('serve', { ...GOOD, WEBHOOK_RETRY_SECONDS }).webhooks.retrySeconds).toEqual(seconds);
  });

  it('begins at once and ends after a day and a half when nothing is said', () => {
    const { retrySeconds } = loadConfig('serve', GOOD).webhooks;
    expect(retrySeconds).toEqual([0, 5, 30, 300, 1_800, 7_200, 28_800, 86_400]);
  });

  it.each([',', '5,x', '-1', '1.5', '1e3', '0x10', String(WEEK + 1), '9999999', Array(21).fill(1).join()])(
    'is not %s',
    WEBHOOK_RETRY_SECONDS => {
      expect(problemsOf('serve', { WEBHOOK_RETRY_SECONDS })).toEqual([
        'WEBHOOK_RETRY_SECONDS must be 1 to 20 whole numbers of seconds, a week at most',
      ]);
    },
  );
});

describe('DATA_ENCRYPTION_KEY', () => {
  const key = (fill: number) => Buffer.alloc(32, fill).toString('base64');

  it('is one key or several, the newest first', () => {
    const { dataEncryptionKeys } = loadConfig('serve', {
      ...GOOD,
      DATA_ENCRYPTION_KEY: `${key(1)},${key(2)}`,
    });
    expect(dataEncryptionKeys.map(each => each[0])).toEqual([1, 2]);
  });

  it.each(['secret', Buffer.alloc(31).toString('base64'), `${key(1)},`.repeat(2) + 'x', key(1).slice(0, -1)])(
    'is not %s',
    DATA_ENCRYPTION_KEY => {
      expect(problemsOf('serve', { DATA_ENCRYPTION_KEY })).toEqual([
        'DATA_ENCRYPTION_KEY must be base64 of 32 bytes, or a list of such keys',
      ]);
    },
  );
});
