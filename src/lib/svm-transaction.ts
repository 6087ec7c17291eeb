import { createHash } from 'node:crypto';
import { verifyEd25519 } from './ed25519.ts';
import { addressBytes } from './svm-address.ts';
import { readSvmMessage, splitSvmTransaction } from './svm-message.ts';

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

/**
 * Reads a wire transaction, legacy or version 0. Whatever is not spelled as the network itself would spell
 * it is refused: a second spelling of one payment would be a second payment to us.
 * @returns undefined when the bytes are no such transaction
 */
export function readSvmTransaction(wire: Uint8Array): SvmTransactionView | undefined {
  if (wire.length > MAX_TRANSACTION_BYTES) return undefined;
  // What is kept must not change with the caller's buffer, or keep a larger one alive.
  const parts = splitSvmTransaction(Uint8Array.from(wire));
  const compiled = parts && readSvmMessage(parts.message);
  if (!compiled) return undefined;
  const { header, staticAccounts: accounts, blockhash, instructions, addressTableLookups } = compiled;
  const { signatures, message } = parts;
  const isSound =
    header.numSignerAccounts === signatures.length &&
    signatures.length <= accounts.length &&
    new Set(accounts).size === accounts.length;
  if (!isSound) return undefined;
  return {
    message,
    messageHash: createHash('sha256').update(message).digest('hex'),
    signers: signatures.map((signature, index) => ({
      address: accounts[index] ?? '',
      signature: signature.some(byte => byte !== 0) ? signature : undefined,
    })),
    accounts,
    blockhash,
    instructions: instructions.map(({ programAddressIndex, accountIndices, data }) => ({
      program: accounts[programAddressIndex] ?? '',
      accounts: accountIndices.map(index => accounts[index] ?? ''),
      data,
    })),
    usesLookupTables: addressTableLookups.length > 0,
  };
}

const views = new WeakMap<object, SvmTransactionView>();

/**
 * As {@link readSvmTransaction}, once for each object: every step of a payment looks at its transaction.
 * @param transaction with its wire bytes in base64
 */
export function viewOf(transaction: { readonly wire: string }): SvmTransactionView | undefined {
  const view = views.get(transaction) ?? readSvmTransaction(Buffer.from(transaction.wire, 'base64'));
  if (view) views.set(transaction, view);
  return view;
}

/** Whether the signature over the message is that of the address's key (Ed25519). */
export function isSignedBy(address: string, signature: Uint8Array, message: Uint8Array): Promise<boolean> {
  return verifyEd25519(message, signature, addressBytes(address));
}

/** Puts the fee payer's signature, the first one, into the wire bytes. */
export function withFeePayerSignature(wire: Uint8Array, signature: Uint8Array): Uint8Array {
  const signed = Uint8Array.from(wire);
  signed.set(signature, 1);
  return signed;
}
