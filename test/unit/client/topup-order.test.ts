import { describe, expect, it } from 'vitest';
import { readTopupOrder } from '../../../src/commands/topup-order.ts';
import { ConfigError } from '../../../src/config/read.ts';

const KEY = '11'.repeat(32);
const env = { WALLET_PRIVATE_KEY: `0x${KEY}` };
const GOOD = ['--dialect', 'dria', '--amount', '4.35', '--url', 'https://pay.example.com'];

describe('an order', () => {
  it('is read from options and environment', () => {
    expect(readTopupOrder(GOOD, { ...env, DRIA_API_KEY: 'dkn_live_x' })).toMatchObject({
      dialect: 'dria',
      amount: '4.35',
      amountBaseUnits: 4_350_000n,
      apiKey: 'dkn_live_x',
      waitMs: 90_000,
      isConfirmed: false,
      wallet: { address: '0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a' },
    });
  });

  it('may choose its network by either name, and a key without 0x', () => {
    for (const name of ['base-sepolia', 'eip155:84532']) {
      const order = readTopupOrder([...GOOD, '--network', name], { WALLET_PRIVATE_KEY: KEY });
      expect(order).toMatchObject({ networks: [{ network: 'eip155:84532' }] });
    }
  });

  it.each([
    ['--dialect', 'mobula'],
    ['--amount', '1.005'],
    ['--amount', '0'],
    ['--amount', '-1'],
    ['--amount', '1e3'],
    ['--amount', ''],
    ['--url', 'http://pay.example.com'],
    ['--url', 'ftp://127.0.0.1'],
    ['--url', 'pay.example.com'],
    ['--network', 'ethereum'],
    ['--wait', 'long'],
  ])('is none with %s %j', (option, value) => {
    expect(readTopupOrder([...GOOD, option, value], env)).toEqual(expect.stringContaining(option));
  });

  it.each([[['--pay']], [['positional']], [['--amount']]])('is none with %j', extra => {
    expect(readTopupOrder([...GOOD, ...extra], env)).toEqual(expect.any(String));
  });

  it('is none without a wallet, or with something else in its place', () => {
    for (const wrong of [{}, { WALLET_PRIVATE_KEY: '0x12' }, { WALLET_PRIVATE_KEY: '00'.repeat(32) }]) {
      expect(() => readTopupOrder(GOOD, wrong)).toThrow(ConfigError);
    }
    expect(() => readTopupOrder([...GOOD, '--key-file', '/nonexistent'], env)).toThrow('--key-file');
  });
});
