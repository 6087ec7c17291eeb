import { addressOf } from './svm-address.ts';

/** What every signer of a transaction signs, as it is on the wire. Addresses are base58, indexes count accounts. */
export interface SvmMessage {
  version: 'legacy' | 0;
  header: {
    numSignerAccounts: number;
    numReadonlySignerAccounts: number;
    numReadonlyNonSignerAccounts: number;
  };
  /** The accounts that the message itself names, signers first. */
  staticAccounts: readonly string[];
  blockhash: string;
  instructions: readonly CompiledInstruction[];
  addressTableLookups: readonly AddressTableLookup[];
}

export interface CompiledInstruction {
  programAddressIndex: number;
  accountIndices: readonly number[];
  data: Uint8Array;
}

export interface AddressTableLookup {
  lookupTableAddress: string;
  writableIndexes: readonly number[];
  readonlyIndexes: readonly number[];
}

const ADDRESS_BYTES = 32;
const SIGNATURE_BYTES = 64;

/** Set in the first byte of every message that is not a legacy one; the other bits are the version. */
const VERSION_FLAG = 0x80;

/** Lengths are written in groups of seven bits, the lowest first, in at most three bytes. */
const MORE_FLAG = 0x80;
const MAX_LENGTH_BYTES = 3;
const MAX_LENGTH = 0xffff;

class NotWhole extends Error {}

/**
 * Reads the message of a transaction, legacy or version 0 (the wire format of Solana's documentation, "Transactions"). There
 * is one spelling of each: a length that is written longer than it must be and bytes after the end are refused.
 * @returns undefined when the bytes are no such message. Whether its indexes name anything is not looked at.
 */
export function readSvmMessage(bytes: Uint8Array): SvmMessage | undefined {
  let offset = 0;

  function take(count: number): Uint8Array {
    const start = offset;
    offset += count;
    if (offset > bytes.length) throw new NotWhole();
    return bytes.subarray(start, offset);
  }

  const byte = (): number => take(1)[0] as number;

  function length(): number {
    let value = 0;
    for (let position = 0; position < MAX_LENGTH_BYTES; position += 1) {
      const group = byte();
      value += (group & ~MORE_FLAG) << (7 * position);
      if (group & MORE_FLAG) continue;
      if ((group === 0 && position > 0) || value > MAX_LENGTH) break;
      return value;
    }
    throw new NotWhole();
  }

  /** Each item takes at least a byte, so a length beyond the end is refused before anything is made for it. */
  function list<T>(read: () => T): T[] {
    const count = length();
    if (count > bytes.length - offset) throw new NotWhole();
    return Array.from({ length: count }, read);
  }

  const address = (): string => addressOf(take(ADDRESS_BYTES));
  const indexes = (): number[] => [...take(length())];
  const instruction = (): CompiledInstruction => ({
    programAddressIndex: byte(),
    accountIndices: indexes(),
    data: take(length()),
  });
  const lookup = (): AddressTableLookup => ({
    lookupTableAddress: address(),
    writableIndexes: indexes(),
    readonlyIndexes: indexes(),
  });

  function message(): SvmMessage | undefined {
    const isLegacy = bytes.length > 0 && ((bytes[0] as number) & VERSION_FLAG) === 0;
    if (!isLegacy && byte() !== VERSION_FLAG) return undefined;
    const read: SvmMessage = {
      version: isLegacy ? 'legacy' : 0,
      header: {
        numSignerAccounts: byte(),
        numReadonlySignerAccounts: byte(),
        numReadonlyNonSignerAccounts: byte(),
      },
      staticAccounts: list(address),
      blockhash: addressOf(take(ADDRESS_BYTES)),
      instructions: list(instruction),
      addressTableLookups: isLegacy ? [] : list(lookup),
    };
    return offset === bytes.length ? read : undefined;
  }

  try {
    return message();
  } catch (error) {
    if (error instanceof NotWhole) return undefined;
    throw error;
  }
}

/**
 * Parts a transaction from its signatures, which come first; one that is not there yet is all zeros.
 * @returns undefined when there are fewer bytes than signatures. One byte tells their number: the network takes fewer
 * than 128 of them.
 */
export function splitSvmTransaction(
  wire: Uint8Array,
): { signatures: Uint8Array[]; message: Uint8Array } | undefined {
  const [count = MORE_FLAG] = wire;
  const start = 1 + count * SIGNATURE_BYTES;
  if (count >= MORE_FLAG || wire.length <= start) return undefined;
  const signatures = Array.from({ length: count }, (_, index) =>
    wire.subarray(1 + index * SIGNATURE_BYTES, 1 + (index + 1) * SIGNATURE_BYTES),
  );
  return { signatures, message: wire.subarray(start) };
}
