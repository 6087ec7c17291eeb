import {
  type Address,
  type CompiledTransactionMessage,
  type CompiledTransactionMessageWithLifetime,
  getBase58Decoder,
  getBase58Encoder,
  getBase64Encoder,
  getCompiledTransactionMessageDecoder,
  getCompiledTransactionMessageEncoder,
  getTransactionDecoder,
  getTransactionEncoder,
} from '@solana/kit';
import { invalidParams } from './rpc-error.ts';

/** The largest transaction that fits a packet of the real network. */
const MAX_BYTES = 1_232;

type Message = CompiledTransactionMessage & CompiledTransactionMessageWithLifetime;

/** A transaction as it came over the wire, decoded and known to be whole. */
export interface WireTransaction {
  bytes: Uint8Array;
  messageBytes: Uint8Array;
  message: Message & { version: 'legacy' | 0 };
  /** base58, the fee payer's first; all zeros where the signature is missing. */
  signatures: string[];
}

/**
 * Decodes a transaction. The virtual machine ends the process on bytes that it cannot read, so only what
 * comes out of the encoder again byte by byte is let through.
 * @throws RpcError
 */
export function decodeTransaction(text: string, encoding: 'base58' | 'base64'): WireTransaction {
  const bytes = fromText(text, encoding);
  if (bytes.length > MAX_BYTES) {
    throw invalidParams(`transaction too large: ${bytes.length} bytes (max: encoded/raw 1644/${MAX_BYTES})`);
  }
  try {
    const transaction = getTransactionDecoder().decode(bytes);
    if (!same(getTransactionEncoder().encode(transaction), bytes)) throw new Error(NOT_WHOLE);
    const messageBytes = Uint8Array.from(transaction.messageBytes);
    const message = readMessage(messageBytes);
    const signatures = signersOf(message).map(address =>
      getBase58Decoder().decode(transaction.signatures[address] ?? new Uint8Array(64)),
    );
    return { bytes, messageBytes, message, signatures };
  } catch (error) {
    throw invalidParams(`failed to deserialize transaction: ${(error as Error).message}`);
  }
}

const NOT_WHOLE = 'these bytes are not what a transaction is written as';

/** Simulated, sent and shown, a message is read three times, and reading its addresses takes longer than running it. */
const recent = new Map<string, WireTransaction['message']>();
const MAX_RECENT = 512;

function readMessage(bytes: Uint8Array): WireTransaction['message'] {
  const key = Buffer.from(bytes).toString('latin1');
  const known = recent.get(key);
  if (known) return known;
  const message = getCompiledTransactionMessageDecoder().decode(bytes);
  if (message.version !== 'legacy' && message.version !== 0) throw new Error('unknown version');
  if (!same(getCompiledTransactionMessageEncoder().encode(message), bytes)) throw new Error(NOT_WHOLE);
  checkIndexes(message);
  recent.set(key, message);
  const [oldest] = recent.size > MAX_RECENT ? recent.keys() : [];
  if (oldest !== undefined) recent.delete(oldest);
  return message;
}

export function signersOf(message: Message): readonly Address[] {
  return message.staticAccounts.slice(0, message.header.numSignerAccounts);
}

export function isSigned(transaction: WireTransaction, index: number): boolean {
  return !/^1+$/.test(transaction.signatures[index] ?? '1');
}

function fromText(text: string, encoding: 'base58' | 'base64'): Uint8Array {
  try {
    const encoder = encoding === 'base58' ? getBase58Encoder() : getBase64Encoder();
    return Uint8Array.from(encoder.encode(text));
  } catch {
    throw invalidParams(`invalid ${encoding} encoding`);
  }
}

/** Every index must name an account, the fee payer must be a writable signer, programs are never lookups. */
function checkIndexes(message: Message): void {
  const { header, staticAccounts, instructions } = message;
  const lookups = 'addressTableLookups' in message ? (message.addressTableLookups ?? []) : [];
  const count = lookups.reduce(
    (sum, lookup) => sum + lookup.readonlyIndexes.length + lookup.writableIndexes.length,
    staticAccounts.length,
  );
  const sound =
    header.numSignerAccounts > header.numReadonlySignerAccounts &&
    header.numSignerAccounts + header.numReadonlyNonSignerAccounts <= staticAccounts.length &&
    instructions.every(
      instruction =>
        instruction.programAddressIndex > 0 &&
        instruction.programAddressIndex < staticAccounts.length &&
        (instruction.accountIndices ?? []).every(index => index < count),
    );
  if (!sound) throw new Error('indexes are out of range');
}

function same(left: ArrayLike<number>, right: Uint8Array): boolean {
  return Buffer.compare(Uint8Array.from(left), right) === 0;
}
