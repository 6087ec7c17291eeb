import {
  type Address,
  getAddressDecoder,
  getCompiledTransactionMessageDecoder,
  getCompiledTransactionMessageEncoder,
} from '@solana/kit';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readSvmMessage, type SvmMessage, splitSvmTransaction } from '../../../src/lib/svm-message.ts';

const encoder = getCompiledTransactionMessageEncoder();
const decoder = getCompiledTransactionMessageDecoder();

type Compiled = Parameters<typeof encoder.encode>[0];

const byte = fc.integer({ min: 0, max: 255 });
const address = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map(bytes => getAddressDecoder().decode(bytes));
/** Around the lengths at which their spelling takes another byte. */
const indexes = fc.oneof(
  { weight: 8, arbitrary: fc.array(byte, { maxLength: 4 }) },
  fc.constantFrom(127, 128, 129, 16_383, 16_384).map(length => Array.from({ length }, (_, i) => i % 256)),
);
const header = fc.record({
  numSignerAccounts: fc.integer({ min: 0, max: 127 }),
  numReadonlySignerAccounts: byte,
  numReadonlyNonSignerAccounts: byte,
});
const instruction = fc.record({
  programAddressIndex: byte,
  accountIndices: indexes,
  data: indexes.map(bytes => Uint8Array.from(bytes)),
});
const lookup = fc.record({
  lookupTableAddress: address,
  writableIndexes: indexes,
  readonlyIndexes: indexes,
});

const messages: fc.Arbitrary<SvmMessage> = fc.record({
  version: fc.constantFrom('legacy' as const, 0 as const),
  header,
  staticAccounts: fc.array(address, { maxLength: 6 }),
  blockhash: address.map(String),
  instructions: fc.array(instruction, { maxLength: 3 }),
  addressTableLookups: fc.array(lookup, { maxLength: 2 }),
});

/** As the published library spells it. */
function spell({ blockhash, addressTableLookups, ...rest }: SvmMessage): Uint8Array {
  const compiled = { ...rest, lifetimeToken: blockhash, addressTableLookups };
  return Uint8Array.from(encoder.encode(compiled as unknown as Compiled));
}

/** What the published library reads, if it spells that in the same bytes. */
function readByLibrary(bytes: Uint8Array): SvmMessage | undefined {
  try {
    const compiled = decoder.decode(bytes);
    if (compiled.version !== 'legacy' && compiled.version !== 0) return undefined;
    if (!Buffer.from(encoder.encode(compiled)).equals(bytes)) return undefined;
    const { version, header: head, staticAccounts, lifetimeToken, instructions } = compiled;
    return {
      version,
      header: head,
      staticAccounts,
      blockhash: lifetimeToken,
      instructions: instructions.map(({ programAddressIndex, accountIndices = [], data }) => ({
        programAddressIndex,
        accountIndices,
        data: Uint8Array.from(data ?? []),
      })),
      addressTableLookups:
        'addressTableLookups' in compiled ? [...(compiled.addressTableLookups ?? [])].map(plain) : [],
    };
  } catch {
    return undefined;
  }
}

function plain(table: {
  lookupTableAddress: Address;
  writableIndexes: readonly number[];
  readonlyIndexes: readonly number[];
}) {
  const { lookupTableAddress, writableIndexes, readonlyIndexes } = table;
  return { lookupTableAddress, writableIndexes, readonlyIndexes };
}

describe('the message of a Solana transaction', () => {
  it('is read as the published library spells it', () => {
    fc.assert(
      fc.property(messages, message => {
        const legacy = message.version === 'legacy';
        const expected = legacy ? { ...message, addressTableLookups: [] } : message;
        expect(readSvmMessage(spell(message))).toEqual(expected);
      }),
      { numRuns: 30 },
    );
  });

  it('is refused exactly where the published library does not come back to the same bytes', () => {
    const edits = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), byte), { maxLength: 3 });
    const tails = fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.array(byte, { maxLength: 3 }));
    const cuts = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat({ max: 3 }));
    let refused = 0;
    let read = 0;
    fc.assert(
      fc.property(messages, edits, tails, cuts, (message, changes, tail, cut) => {
        const whole = spell(message);
        const bytes = Uint8Array.from([...whole.subarray(0, whole.length - cut), ...tail]);
        for (const [place, value] of changes) bytes[Math.floor(place * (bytes.length - 1))] = value;
        const expected = readByLibrary(bytes);
        if (expected) read += 1;
        else refused += 1;
        expect(readSvmMessage(bytes)).toEqual(expected);
      }),
      { numRuns: 250 },
    );
    expect(Math.min(refused, read)).toBeGreaterThan(30);
  });

  it.each([
    ['nothing', ''],
    ['another version', `81${'00'.repeat(40)}`],
    ['more accounts than bytes', '010000ffff03'],
    ['a length that is written longer than it must be', `0100008000${'00'.repeat(33)}`],
    ['a length of more than 16 bits', '010000ffff04'],
    ['a length that does not end', '010000ffffff03'],
  ])('is refused when it is %s', (_, hex) => {
    expect(readSvmMessage(Buffer.from(hex, 'hex'))).toBeUndefined();
  });
});

describe('the signatures of a Solana transaction', () => {
  it('come before the message', () => {
    const wire = Uint8Array.from([2, ...Array(64).fill(7), ...Array(64).fill(8), 1, 2, 3]);
    expect(splitSvmTransaction(wire)).toEqual({
      signatures: [new Uint8Array(64).fill(7), new Uint8Array(64).fill(8)],
      message: Uint8Array.of(1, 2, 3),
    });
  });

  it.each([
    ['no bytes', []],
    ['fewer bytes than signatures', [1, ...Array(63).fill(0)]],
    ['no message', [1, ...Array(64).fill(0)]],
    ['a number of signatures that no transaction has', [0x81, 0x01, ...Array(9_000).fill(0)]],
  ])('are not read from %s', (_, bytes) => {
    expect(splitSvmTransaction(Uint8Array.from(bytes))).toBeUndefined();
  });
});
