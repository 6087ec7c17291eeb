import { createHash, createPublicKey, verify } from 'node:crypto';
import { getCompiledTransactionMessageDecoder, getCompiledTransactionMessageEncoder } from '@solana/kit';
import { addressBytes } from './svm-address.ts';

/** The network takes no larger transaction: one packet of 1,280 bytes less its headers. */
export const MAX_TRANSACTION_BYTES = 1_232;

export interface SvmInstruction {
  program: string;
  accounts: readonly string[];
  data: Uint8Array;
}

/** What a transaction says; addresses are base58. */
export interface SvmTransactionView {
  /** What every signer signs. */
  message: Uint8Array;
  /** SHA-256 of the message as hex: names the transaction before all signatures are there. */
  messageHash: string;
  /** Accounts that must sign, the fee payer first, each with its signature if that is there. */
  signers: readonly { address: string; signature: Uint8Array | undefined }[];
  /** Every account that the message itself names, in its order. */
  accounts: readonly string[];
  blockhash: string;
  instructions: readonly SvmInstruction[];
  /** Whether accounts are named in tables on chain; then `instructions` does not hold them. */
  usesLookupTables: boolean;
}

const SIGNATURE_BYTES = 64;

const messageDecoder = getCompiledTransactionMessageDecoder();
const messageEncoder = getCompiledTransactionMessageEncoder();

/**
 * Reads a wire transaction, legacy or version 0. Whatever is not spelled as the network itself would spell
 * it is refused: a second spelling of one payment would be a second payment to us.
 * @returns undefined when the bytes are no such transaction
 */
export function readSvmTransaction(wire: Uint8Array): SvmTransactionView | undefined {
  // One byte of length comes before the signatures: the network takes fewer than 128 of them.
  const [signatureCount = 0] = wire;
  const messageStart = 1 + signatureCount * SIGNATURE_BYTES;
  if (wire.length > MAX_TRANSACTION_BYTES || signatureCount > 127 || wire.length <= messageStart)
    return undefined;
  const message = readMessage(Uint8Array.from(wire.subarray(messageStart)));
  if (!message || message.signerCount !== signatureCount) return undefined;
  const { signerCount, ...view } = message;
  const signers = view.accounts.slice(0, signerCount).map((address, index) => {
    const start = 1 + index * SIGNATURE_BYTES;
    const signature = Uint8Array.from(wire.subarray(start, start + SIGNATURE_BYTES));
    return { address, signature: signature.some(byte => byte !== 0) ? signature : undefined };
  });
  return { ...view, signers };
}

/** What is known of a transaction whoever has signed it so far. */
interface MessageView extends Omit<SvmTransactionView, 'signers'> {
  signerCount: number;
}

/**
 * Each step of a payment reads the same message, and reading it, base58 above all, took nearly half of the processor
 * time of a whole payment.
 */
const recent = new Map<string, MessageView>();
const MAX_RECENT = 512;

function readMessage(message: Uint8Array): MessageView | undefined {
  const key = Buffer.from(message).toString('latin1');
  const known = recent.get(key);
  if (known) return known;
  const view = parse(message);
  if (view) recent.set(key, view);
  const [oldest] = recent.size > MAX_RECENT ? recent.keys() : [];
  if (oldest !== undefined) recent.delete(oldest);
  return view;
}

function parse(message: Uint8Array): MessageView | undefined {
  try {
    const compiled = messageDecoder.decode(message);
    if (compiled.version !== 'legacy' && compiled.version !== 0) return undefined;
    const accounts: readonly string[] = compiled.staticAccounts;
    const isCanonical =
      Buffer.from(messageEncoder.encode(compiled)).equals(message) &&
      new Set(accounts).size === accounts.length &&
      compiled.header.numSignerAccounts <= accounts.length;
    if (!isCanonical) return undefined;
    return {
      message,
      messageHash: createHash('sha256').update(message).digest('hex'),
      signerCount: compiled.header.numSignerAccounts,
      accounts,
      blockhash: compiled.lifetimeToken,
      instructions: compiled.instructions.map(({ programAddressIndex, accountIndices = [], data }) => ({
        program: accounts[programAddressIndex] ?? '',
        accounts: accountIndices.map(index => accounts[index] ?? ''),
        data: Uint8Array.from(data ?? []),
      })),
      usesLookupTables: 'addressTableLookups' in compiled && (compiled.addressTableLookups?.length ?? 0) > 0,
    };
  } catch {
    return undefined;
  }
}

const KEY_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** Whether the signature over the message is that of the address's key (Ed25519). */
export function isSignedBy(address: string, signature: Uint8Array, message: Uint8Array): boolean {
  try {
    const der = Buffer.concat([KEY_PREFIX, addressBytes(address)]);
    return verify(null, message, createPublicKey({ key: der, format: 'der', type: 'spki' }), signature);
  } catch {
    return false;
  }
}

/** Puts the fee payer's signature, the first one, into the wire bytes. */
export function withFeePayerSignature(wire: Uint8Array, signature: Uint8Array): Uint8Array {
  const signed = Uint8Array.from(wire);
  signed.set(signature, 1);
  return signed;
}
