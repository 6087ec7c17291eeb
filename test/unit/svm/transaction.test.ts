import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { address, createKeyPairSignerFromBytes, getBase58Decoder } from '@solana/kit';
import { findAssociatedTokenPda, TOKEN_PROGRAM_ADDRESS } from '@solana-program/token';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { associatedTokenAccount, isSvmAddress } from '../../../src/lib/svm-address.ts';
import { readSvmKey } from '../../../src/lib/svm-key.ts';
import { findMemos } from '../../../src/lib/svm-memo.ts';
import { findTokenTransfer } from '../../../src/lib/svm-token.ts';
import { isSignedBy, readSvmTransaction, withFeePayerSignature } from '../../../src/lib/svm-transaction.ts';
import {
  buildTransaction,
  newSigner,
  paymentInstructions,
  randomAddress,
  randomBlockhash,
  solanaNetwork,
  tokenAccountOf,
} from '../../support/svm-transaction.ts';

const { usdc } = solanaNetwork();

async function build(version: 'legacy' | 0 = 0) {
  const payer = await newSigner();
  const [feePayer, payTo, blockhash] = [randomAddress(), randomAddress(), randomBlockhash()];
  const instructions = paymentInstructions({ payer, payTo, amount: 5_000_000n, memo: 'offer-1' });
  const wire = Buffer.from(await buildTransaction({ feePayer, instructions, blockhash, version }), 'base64');
  return { payer, feePayer, payTo, blockhash, wire };
}

describe('a wire transaction', () => {
  it.each(['legacy', 0] as const)('is read as what it says: version %s', async version => {
    const { payer, feePayer, payTo, blockhash, wire } = await build(version);
    const view = readSvmTransaction(wire);
    expect(view).toMatchObject({ blockhash, usesLookupTables: false });
    expect(view?.messageHash).toMatch(/^[0-9a-f]{64}$/);
    expect(view?.signers.map(({ address: signer }) => signer)).toEqual([feePayer, payer.address]);
    expect(view?.signers[0]?.signature).toBeUndefined();
    expect(view && findMemos(view)).toEqual(['offer-1']);
    expect(view && findTokenTransfer(view)).toEqual({
      index: 2,
      program: TOKEN_PROGRAM_ADDRESS,
      source: tokenAccountOf(payer.address),
      mint: usdc.address,
      destination: tokenAccountOf(payTo),
      authority: payer.address,
      amountBaseUnits: 5_000_000n,
      decimals: 6,
    });
  });

  it('carries the payer’s signature over its message', async () => {
    const { payer, wire } = await build();
    const view = readSvmTransaction(wire);
    const signature = view?.signers[1]?.signature ?? new Uint8Array(64);
    expect(view && (await isSignedBy(payer.address, signature, view.message))).toBe(true);
    expect(view && (await isSignedBy(randomAddress(), signature, view.message))).toBe(false);
    expect(view && (await isSignedBy(payer.address, signature, view.message.slice(1)))).toBe(false);
    expect(view && (await isSignedBy(payer.address, signature.slice(1), view.message))).toBe(false);
  });

  it('is named by its message alone, whatever stands in the fee payer’s place', async () => {
    const { wire } = await build();
    const signed = withFeePayerSignature(wire, randomBytes(64));
    expect(readSvmTransaction(signed)?.messageHash).toBe(readSvmTransaction(wire)?.messageHash);
    expect(readSvmTransaction(signed)?.signers[0]?.signature).toHaveLength(64);
  });

  it('has one spelling: bytes more, bytes less and long counts are refused', async () => {
    const { wire } = await build();
    expect(readSvmTransaction(Buffer.concat([wire, Buffer.of(0)]))).toBeUndefined();
    expect(readSvmTransaction(wire.subarray(0, -1))).toBeUndefined();
    expect(readSvmTransaction(Buffer.concat([Buffer.of(0x82, 0x00), wire.subarray(1)]))).toBeUndefined();
    expect(readSvmTransaction(Buffer.concat([wire, randomBytes(1_300)]))).toBeUndefined();
    expect(readSvmTransaction(Buffer.alloc(0))).toBeUndefined();
  });

  it('changed in any one byte is refused or is another transaction', async () => {
    const { wire } = await build();
    const original = readSvmTransaction(wire);
    const signatures = 1 + 2 * 64;
    fc.assert(
      fc.property(
        fc.integer({ min: signatures, max: wire.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        (at, change) => {
          const changed = Uint8Array.from(wire);
          changed[at] = (changed[at] ?? 0) ^ change;
          expect(readSvmTransaction(changed)?.messageHash).not.toBe(original?.messageHash);
        },
      ),
      { numRuns: 300, seed: 402 },
    );
  });

  it('of random bytes is refused without an accident', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), bytes => {
        expect(readSvmTransaction(bytes)).toBeUndefined();
      }),
      { numRuns: 300, seed: 402 },
    );
  });
});

describe('a token account', () => {
  it('is the one that the token program’s own client derives', async () => {
    for (let round = 0; round < 25; round += 1) {
      const owner = randomAddress();
      const [expected] = await findAssociatedTokenPda({
        owner,
        mint: address(usdc.address),
        tokenProgram: TOKEN_PROGRAM_ADDRESS,
      });
      expect(associatedTokenAccount(owner, usdc.address, usdc.tokenProgram)).toBe(expected);
    }
  });

  it('belongs to an address, which is 32 bytes in base58', () => {
    expect(isSvmAddress(usdc.address)).toBe(true);
    for (const text of ['', `${usdc.address}1`, usdc.address.slice(8), `0x${'11'.repeat(20)}`])
      expect(isSvmAddress(text)).toBe(false);
  });
});

describe('a secret key', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32);
  const bytes = Buffer.concat([seed, publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)]);

  it.each([
    ['base58', getBase58Decoder().decode(bytes)],
    ['the array that solana-keygen writes', JSON.stringify([...bytes])],
  ])('is read from %s and signs as the published library does', async (_, text) => {
    const key = readSvmKey(text);
    const published = await createKeyPairSignerFromBytes(bytes);
    expect(key?.address).toBe(published.address);
    const message = randomBytes(100);
    const signature = (await key?.sign(message)) ?? new Uint8Array();
    expect(await isSignedBy(published.address, signature, message)).toBe(true);
    expect(await key?.sign(message)).toEqual(signature);
  });

  it.each([
    ['nothing', ''],
    ['an EVM key', `0x${'ab'.repeat(32)}`],
    ['the seed alone', getBase58Decoder().decode(seed)],
    ['halves of two keys', JSON.stringify([...bytes.subarray(0, 32), ...randomBytes(32)])],
    ['numbers that are no bytes', JSON.stringify([...bytes.subarray(1), 256])],
    ['broken JSON', '[1,2'],
  ])('is not %s', (_, text) => {
    expect(readSvmKey(text)).toBeUndefined();
  });
});
