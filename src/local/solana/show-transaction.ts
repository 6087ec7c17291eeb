import { getTransferCheckedInstructionDataDecoder } from '@solana-program/token';
import { assert } from '../../lib/assert.ts';
import { decodeBase58, encodeBase58 } from '../../lib/svm-address.ts';
import type { SvmMessage } from '../../lib/svm-message.ts';
import type { InnerInstructions, TransactionRecord } from './history.ts';
import { TOKEN_PROGRAMS, uiTokenAmount } from './tokens.ts';
import type { WireTransaction } from './transaction.ts';

export const TRANSACTION_ENCODINGS = ['json', 'jsonParsed', 'base64', 'base58'] as const;
type TransactionEncoding = (typeof TRANSACTION_ENCODINGS)[number];

export function isTransactionEncoding(value: unknown): value is TransactionEncoding {
  return (TRANSACTION_ENCODINGS as readonly unknown[]).includes(value);
}

interface RawInstruction {
  programIdIndex: number;
  accounts: readonly number[];
  /** base58 */
  data: string;
  stackHeight: number;
}

/** A transaction with what it did, as `getTransaction` answers it. */
export function showTransaction(
  record: TransactionRecord,
  transaction: WireTransaction,
  encoding: TransactionEncoding,
) {
  const parsed = encoding === 'jsonParsed';
  const meta = {
    computeUnitsConsumed: record.computeUnitsConsumed,
    err: record.err,
    fee: record.fee,
    innerInstructions: parsed ? parseInner(record) : record.innerInstructions,
    ...(parsed ? {} : { loadedAddresses: record.loadedAddresses }),
    logMessages: record.logMessages,
    postBalances: record.postBalances,
    postTokenBalances: record.postTokenBalances,
    preBalances: record.preBalances,
    preTokenBalances: record.preTokenBalances,
    rewards: [],
    status: record.err === null ? { Ok: null } : { Err: record.err },
    ...(record.returnData === null ? {} : { returnData: record.returnData }),
  };
  return { meta, transaction: encodeTransaction(record, transaction, encoding) };
}

function encodeTransaction(
  record: TransactionRecord,
  transaction: WireTransaction,
  encoding: TransactionEncoding,
) {
  if (encoding === 'base64') return [record.wire, 'base64'];
  if (encoding === 'base58') return [encodeBase58(transaction.bytes), 'base58'];
  const { message } = transaction;
  const signatures = transaction.signatures.map(encodeBase58);
  const instructions = message.instructions.map(
    (instruction): RawInstruction => ({
      programIdIndex: instruction.programAddressIndex,
      accounts: instruction.accountIndices,
      data: encodeBase58(instruction.data),
      stackHeight: 1,
    }),
  );
  const addressTableLookups = message.addressTableLookups.map(lookup => ({
    accountKey: lookup.lookupTableAddress,
    readonlyIndexes: lookup.readonlyIndexes,
    writableIndexes: lookup.writableIndexes,
  }));
  const common = {
    recentBlockhash: message.blockhash,
    ...(message.version === 'legacy' ? {} : { addressTableLookups }),
  };
  if (encoding === 'jsonParsed') {
    return {
      message: {
        ...common,
        accountKeys: parseAccounts(record, message),
        instructions: instructions.map(instruction => parse(record, instruction)),
      },
      signatures,
    };
  }
  const { header } = message;
  return {
    message: {
      ...common,
      accountKeys: message.staticAccounts,
      header: {
        numReadonlySignedAccounts: header.numReadonlySignerAccounts,
        numReadonlyUnsignedAccounts: header.numReadonlyNonSignerAccounts,
        numRequiredSignatures: header.numSignerAccounts,
      },
      instructions,
    },
    signatures,
  };
}

function parseAccounts(record: TransactionRecord, message: SvmMessage) {
  const { numSignerAccounts, numReadonlySignerAccounts, numReadonlyNonSignerAccounts } = message.header;
  const fixed = message.staticAccounts.length;
  const lookedUpWritable = fixed + record.loadedAddresses.writable.length;
  return record.accounts.map((pubkey, index) => {
    const signer = index < numSignerAccounts;
    const writable = signer
      ? index < numSignerAccounts - numReadonlySignerAccounts
      : index < fixed
        ? index < fixed - numReadonlyNonSignerAccounts
        : index < lookedUpWritable;
    return { pubkey, signer, source: index < fixed ? 'transaction' : 'lookupTable', writable };
  });
}

function parseInner(record: TransactionRecord) {
  return record.innerInstructions.map((inner: InnerInstructions) => ({
    index: inner.index,
    instructions: inner.instructions.map(instruction => parse(record, instruction)),
  }));
}

const TRANSFER_CHECKED = 12;
const TRANSFER_CHECKED_BYTES = 10;

/** Checked token transfers are explained, everything else is left as it is, as a node does with what it does not know. */
function parse(record: TransactionRecord, instruction: RawInstruction) {
  const programId = record.accounts[instruction.programIdIndex] ?? '';
  const accounts = instruction.accounts.map(index => record.accounts[index] ?? '');
  const data = decodeBase58(instruction.data);
  assert(data, 'what was written as base58 can be read again');
  const [source, mint, destination, authority] = accounts;
  if (
    TOKEN_PROGRAMS.includes(programId) &&
    data[0] === TRANSFER_CHECKED &&
    data.length === TRANSFER_CHECKED_BYTES &&
    accounts.length === 4
  ) {
    const { amount, decimals } = getTransferCheckedInstructionDataDecoder().decode(data);
    const info = { authority, destination, mint, source, tokenAmount: uiTokenAmount(amount, decimals) };
    const program = programId.startsWith('Tokenz') ? 'spl-token-2022' : 'spl-token';
    return {
      parsed: { info, type: 'transferChecked' },
      program,
      programId,
      stackHeight: instruction.stackHeight,
    };
  }
  return { accounts, data: instruction.data, programId, stackHeight: instruction.stackHeight };
}
