import * as fc from 'fast-check';
import { hashMessage, hexToBytes, keccak256, parseTransaction, serializeTransaction } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { describe, expect, it } from 'vitest';
import {
  createSecp256k1,
  loadNativeCurve,
  loadViemCurve,
  personalSignDigest,
  recoverAddress,
  SIGNATURE_IMPLEMENTATION,
} from '../../src/lib/secp256k1.ts';

const native = loadNativeCurve();
const implementations = [loadViemCurve(), ...(native ? [native] : [])].map(createSecp256k1);

/** Well-known key of an account that holds nothing: 32 bytes of 0x11. */
const KEY = `0x${'11'.repeat(32)}` as const;
const ADDRESS = '0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a';
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const digest = personalSignDigest('hello');

function word(value: bigint): string {
  return value.toString(16).padStart(64, '0');
}

const account = privateKeyToAccount(KEY);

it('uses the native binary wherever one is published', () => {
  const published = ['linux-x64', 'darwin-arm64', 'win32-x64'];
  const expected = published.includes(`${process.platform}-${process.arch}`) || native ? 'native' : 'viem';
  expect(SIGNATURE_IMPLEMENTATION).toBe(expected);
});

describe.each(implementations)('$implementation', secp256k1 => {
  it('recovers what a wallet signed', async () => {
    const signature = await account.signMessage({ message: 'hello' });
    expect(secp256k1.recoverAddress(digest, signature)).toBe(ADDRESS);
    expect(secp256k1.recoverAddress(digest, `0x${signature.slice(2).toUpperCase()}`)).toBe(ADDRESS);
    expect(secp256k1.recoverAddress(personalSignDigest('hellp'), signature)).not.toBe(ADDRESS);
  });

  it('takes v as 27, 28, 0 or 1 and nothing else', async () => {
    const signature = await account.signMessage({ message: 'hello' });
    const [body, v] = [signature.slice(0, -2), Number.parseInt(signature.slice(-2), 16)];
    const withV = (value: number) => body + value.toString(16).padStart(2, '0');
    expect(secp256k1.recoverAddress(digest, withV(v - 27))).toBe(ADDRESS);
    expect(secp256k1.recoverAddress(digest, withV(55 - v))).not.toBe(ADDRESS);
    for (const wrong of [2, 3, 26, 29, 30, 37, 255]) {
      expect(secp256k1.recoverAddress(digest, withV(wrong))).toBeUndefined();
    }
  });

  it('refuses the malleable twin of a valid signature', async () => {
    const signature = await account.signMessage({ message: 'hello' });
    const s = BigInt(`0x${signature.slice(66, 130)}`);
    const v = signature.endsWith('1b') ? '1c' : '1b';
    const twin = `${signature.slice(0, 66)}${word(ORDER - s)}${v}`;
    expect(secp256k1.recoverAddress(digest, twin)).toBeUndefined();
  });

  it.each([
    ['r is zero', word(0n), word(1n)],
    ['s is zero', word(1n), word(0n)],
    ['r is the group order', word(ORDER), word(1n)],
    ['r is no x coordinate', word(5n), word(1n)],
    ['s is just above half the order', word(1n), word(ORDER / 2n + 1n)],
    ['both overflow', 'f'.repeat(64), 'f'.repeat(64)],
  ])('refuses a signature whose %s', (_, r, s) => {
    expect(secp256k1.recoverAddress(digest, `0x${r}${s}1b`)).toBeUndefined();
  });

  it('accepts the largest canonical s', () => {
    expect(secp256k1.recoverAddress(digest, `0x${word(1n)}${word(ORDER / 2n)}1b`)).toMatch(
      /^0x[0-9a-f]{40}$/,
    );
  });

  it.each([
    '',
    '0x',
    `0x${'ab'.repeat(64)}`,
    `0x${'ab'.repeat(66)}`,
    'ab'.repeat(65),
    `0x${'zz'.repeat(65)}`,
  ])('refuses %j', text => {
    expect(secp256k1.recoverAddress(digest, text)).toBeUndefined();
  });

  it('signs a transaction as viem does', async () => {
    const transaction = {
      chainId: 8453,
      nonce: 7,
      gas: 21_000n,
      maxFeePerGas: 9n,
      to: account.address,
    } as const;
    const unsigned = serializeTransaction({ ...transaction, type: 'eip1559' });
    const signature = secp256k1.signDigest(keccak256(unsigned, 'bytes'), KEY);
    const raw = serializeTransaction({ ...transaction, type: 'eip1559' }, signature);
    expect(raw).toBe(await account.signTransaction({ ...transaction, type: 'eip1559' }));
    expect(parseTransaction(raw).nonce).toBe(7);
  });

  it('does not sign with an impossible key', () => {
    expect(() => secp256k1.signDigest(digest, `0x${'00'.repeat(32)}`)).toThrow();
    expect(() => secp256k1.signDigest(digest, `0x${'ff'.repeat(32)}`)).toThrow();
    expect(() => secp256k1.signDigest(digest, '0x1234567890'.repeat(20))).toThrow();
  });
});

describe('both implementations', () => {
  const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });

  it('give the same signatures and recover them', () => {
    fc.assert(
      fc.property(bytes32, fc.bigInt({ min: 1n, max: ORDER - 1n }), (hash, secret) => {
        const key = `0x${word(secret)}` as const;
        const signatures = implementations.map(each => each.signDigest(hash, key));
        expect(new Set(signatures.map(each => JSON.stringify(each))).size).toBe(1);
        const { r, s, yParity } = signatures[0] ?? expect.unreachable();
        const expected = privateKeyToAccount(key).address.toLowerCase();
        for (const each of implementations) {
          expect(each.recoverAddress(hash, `${r}${s.slice(2)}0${yParity}`)).toBe(expected);
        }
      }),
      { numRuns: 20, seed: 402 },
    );
  });

  it('agree about arbitrary bytes', () => {
    fc.assert(
      fc.property(bytes32, bytes32, bytes32, fc.integer({ min: 0, max: 1 }), (hash, r, s, v) => {
        const low = new Uint8Array([(s[0] ?? 0) & 0x7f, ...s.subarray(1)]);
        const signature = `0x${Buffer.concat([r, low]).toString('hex')}0${v}`;
        expect(new Set(implementations.map(each => each.recoverAddress(hash, signature))).size).toBe(1);
      }),
      { numRuns: 40, seed: 402 },
    );
  });
});

it('hashes a personal message as wallets do', () => {
  for (const text of ['', 'hello', 'two\nlines', 'żółw 🐢']) {
    expect(personalSignDigest(text)).toEqual(hexToBytes(hashMessage(text)));
  }
  expect(recoverAddress(personalSignDigest(''), '0x')).toBeUndefined();
});
