import { createHash } from 'node:crypto';
import { decodeBase58, encodeBase58 } from '../../lib/svm-address.ts';
import { readSvmMessage, type SvmMessage, splitSvmTransaction } from '../../lib/svm-message.ts';
import { invalidParams } from './rpc-error.ts';

/** The largest transaction that fits a packet of the real network. */
const MAX_BYTES = 1_232;
/** As on a real node: the longest base58 text of so many bytes, because decoding takes the square of the length. */
const MAX_BASE58_CHARACTERS = 1_683;

/** A transaction as it came over the wire, decoded and known to be whole. */
export interface WireTransaction {
  bytes: Uint8Array;
  message: SvmMessage;
  /** Hex SHA-256 of what is signed: the transaction's identity whoever signs it. */
  messageHash: string;
  /** The fee payer's first; all zeros where the signature is missing. */
  signatures: readonly Uint8Array[];
}

/**
 * Decodes a transaction. The virtual machine ends the process on bytes that it cannot read, so only what
 * is spelled as the network spells it, and names nothing that is not there, is let through.
 * @throws RpcError
 */
export function decodeTransaction(text: string, encoding: 'base58' | 'base64'): WireTransaction {
  if (encoding === 'base58' && text.length > MAX_BASE58_CHARACTERS) {
    throw invalidParams(
      `base58 encoded transaction too large: ${text.length} bytes (max: encoded/raw ${MAX_BASE58_CHARACTERS}/${MAX_BYTES})`,
    );
  }
  const bytes = fromText(text, encoding);
  if (bytes.length > MAX_BYTES) {
    throw invalidParams(`transaction too large: ${bytes.length} bytes (max: encoded/raw 1644/${MAX_BYTES})`);
  }
  const parts = splitSvmTransaction(bytes);
  const message = parts && readSvmMessage(parts.message);
  if (!message) throw undecodable('these bytes are not what a transaction is written as');
  if (message.header.numSignerAccounts !== parts.signatures.length) {
    throw undecodable('there must be as many signatures as signers');
  }
  if (!isSound(message)) throw undecodable('indexes are out of range');
  const messageHash = createHash('sha256').update(parts.message).digest('hex');
  return { bytes, message, messageHash, signatures: parts.signatures };
}

/** The name of the transaction in base58: the fee payer's signature. */
export function signatureOf({ signatures: [first] }: WireTransaction): string {
  return first ? encodeBase58(first) : '';
}

export function isSigned({ signatures }: WireTransaction): boolean {
  return signatures.every(signature => signature.some(byte => byte !== 0));
}

/** Base64 is taken in its one spelling. */
function fromText(text: string, encoding: 'base58' | 'base64'): Uint8Array {
  const bytes = encoding === 'base58' ? decodeBase58(text) : Buffer.from(text, 'base64');
  const isWhole = bytes && (encoding === 'base58' || Buffer.from(bytes).toString('base64') === text);
  if (!isWhole) throw invalidParams(`invalid ${encoding} encoding`);
  return Uint8Array.from(bytes);
}

function undecodable(why: string) {
  return invalidParams(`failed to deserialize transaction: ${why}`);
}

/** Every index must name an account, the fee payer must be a writable signer, programs are never lookups. */
function isSound({ header, staticAccounts, instructions, addressTableLookups }: SvmMessage): boolean {
  const count = addressTableLookups.reduce(
    (sum, lookup) => sum + lookup.readonlyIndexes.length + lookup.writableIndexes.length,
    staticAccounts.length,
  );
  return (
    header.numSignerAccounts > header.numReadonlySignerAccounts &&
    header.numSignerAccounts + header.numReadonlyNonSignerAccounts <= staticAccounts.length &&
    instructions.every(
      instruction =>
        instruction.programAddressIndex > 0 &&
        instruction.programAddressIndex < staticAccounts.length &&
        instruction.accountIndices.every(index => index < count),
    )
  );
}
