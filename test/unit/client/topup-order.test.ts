import { describe, expect, it } from 'vitest';
import { readTopupOrder } from '../../../src/commands/topup-order.ts';
import { ConfigError } from '../../../src/config/read.ts';
import { encodeBase58 } from '../../../src/lib/svm-address.ts';

const KEY = '11'.repeat(32);
const env = { WALLET_PRIVATE_KEY: `0x${KEY}` };
/** Seed and public key of test vector 1 of RFC 8032. */
const SVM_BYTES = Buffer.from(
  '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
  'hex',
);
const SVM_ADDRESS = 'FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z';
const SOLANA_RPC_URL = 'http://127.0.0.1:8899';
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
      expect(order).toMatchObject({ wallet: { networks: [{ network: 'eip155:84532' }] } });
    }
  });

  it.each([
    ['base58', encodeBase58(SVM_BYTES)],
    ['the array of solana-keygen', JSON.stringify([...SVM_BYTES])],
  ])('may pay from a Solana wallet, its key in %s', (_, key) => {
    const venice = ['--dialect', 'venice', ...GOOD.slice(2)];
    for (const more of [[], ['--network', 'solana']]) {
      const order = readTopupOrder([...venice, ...more], { WALLET_PRIVATE_KEY: key, SOLANA_RPC_URL });
      expect(order).toMatchObject({
        wallet: { address: SVM_ADDRESS, networks: [{ network: 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp' }] },
      });
    }
    const onBase = readTopupOrder([...venice, '--network', 'base'], { WALLET_PRIVATE_KEY: key });
    expect(onBase).toContain('--network');
  });

  it('from a Solana wallet needs a node, and dria has no Solana', () => {
    const key = { WALLET_PRIVATE_KEY: encodeBase58(SVM_BYTES) };
    const venice = ['--dialect', 'venice', ...GOOD.slice(2)];
    expect(() => readTopupOrder(venice, key)).toThrow('SOLANA_RPC_URL');
    expect(() => readTopupOrder([...venice, '--rpc-url', 'ftp://127.0.0.1'], key)).toThrow('--rpc-url');
    for (const node of [['--rpc-url', SOLANA_RPC_URL], ['--sandbox']]) {
      expect(readTopupOrder([...venice, ...node], key)).toMatchObject({ wallet: { address: SVM_ADDRESS } });
    }
    expect(readTopupOrder(GOOD, { ...key, SOLANA_RPC_URL })).toContain('Dria');
    expect(readTopupOrder([...GOOD, '--network', 'solana'], env)).toContain('--network');
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
    const halves = Buffer.concat([SVM_BYTES.subarray(0, 32), SVM_BYTES.subarray(0, 32)]);
    for (const key of ['', '0x12', '00'.repeat(32), encodeBase58(halves), '[1,2]', '[']) {
      expect(() => readTopupOrder(GOOD, { WALLET_PRIVATE_KEY: key })).toThrow(ConfigError);
    }
    expect(() => readTopupOrder([...GOOD, '--key-file', '/nonexistent'], env)).toThrow('--key-file');
  });
});
