import * as fc from 'fast-check';
import { keccak256, recoverTransactionAddress } from 'viem';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import { describe, expect, it } from 'vitest';
import {
  fillerCall,
  offeredFees,
  raisedFees,
  readTransaction,
  signTransaction,
} from '../../../src/facilitators/evm-transaction.ts';

const privateKey = generatePrivateKey();
const address = privateKeyToAddress(privateKey).toLowerCase();
const signing = { chainId: 8453, privateKey };

describe('a signed transaction', () => {
  it.each([
    ['a call', { to: address, data: '0xdeadbeef', gas: 300_000n }],
    ['a filler', fillerCall(address)],
  ])('of %s can be read back and is ours', async (_name, call) => {
    const fees = offeredFees(1_000_000n);
    const signed = signTransaction(signing, 7n, call, fees);
    expect(readTransaction(signed.raw)).toEqual({ call, fees });
    expect(keccak256(signed.raw as `0x${string}`)).toBe(signed.hash);
    const serializedTransaction = signed.raw as `0x02${string}`;
    expect((await recoverTransactionAddress({ serializedTransaction })).toLowerCase()).toBe(address);
    expect(signTransaction(signing, 7n, call, fees)).toEqual(signed);
  });
});

describe('raised fees', () => {
  const price = fc.bigInt({ min: 1n, max: 100_000_000_000n });

  it('are a tenth more than before, enough for the price, and a tip within the whole', () => {
    fc.assert(
      fc.property(price, price, (before, now) => {
        const old = offeredFees(before);
        const fees = raisedFees(old, now);
        expect(fees.maxFeePerGas * 10n).toBeGreaterThanOrEqual(old.maxFeePerGas * 11n);
        expect(fees.maxPriorityFeePerGas * 10n).toBeGreaterThanOrEqual(old.maxPriorityFeePerGas * 11n);
        expect(fees.maxFeePerGas).toBeGreaterThanOrEqual(now * 2n);
        expect(fees.maxPriorityFeePerGas).toBeLessThanOrEqual(fees.maxFeePerGas);
      }),
    );
  });
});
