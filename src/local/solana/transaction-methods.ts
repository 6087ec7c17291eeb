import type { Bank } from './bank.ts';
import { showInner, showReturned } from './bank.ts';
import { feeOf } from './fee.ts';
import type { TransactionRecord } from './history.ts';
import {
  addressParam,
  type Config,
  commitmentOf,
  configParam,
  countParam,
  type Params,
  settledCommitmentOf,
  signatureParam,
  textParam,
  toAddress,
  withContext,
} from './params.ts';
import { invalidParams, RpcError, UNSUPPORTED_TRANSACTION_VERSION } from './rpc-error.ts';
import { showAccount } from './show-account.ts';
import { isTransactionEncoding, showTransaction, TRANSACTION_ENCODINGS } from './show-transaction.ts';
import { lastValidBlockHeight } from './slots.ts';
import { decodeTransaction, type WireTransaction } from './transaction.ts';

const MAX_STATUSES = 256;
const MAX_SIGNATURES = 1_000;

/** Without a search of the history a node knows the outcomes of this many slots. */
const STATUS_CACHE_SLOTS = 300;

/** Sending transactions and asking what became of them. */
export const transactionMethods = {
  sendTransaction(bank: Bank, params: Params) {
    const config = configParam(params, 1);
    const transaction = wireParam(params, config);
    const commitment = commitmentOf(config, 'preflightCommitment');
    return bank.submit(transaction, config['skipPreflight'] === true ? 'skip' : commitment);
  },

  simulateTransaction(bank: Bank, params: Params) {
    const config = configParam(params, 1);
    const transaction = wireParam(params, config);
    const replaceBlockhash = config['replaceRecentBlockhash'] === true;
    const verifySignatures = config['sigVerify'] === true;
    if (replaceBlockhash && verifySignatures) {
      throw invalidParams('sigVerify may not be used with replaceRecentBlockhash');
    }
    const commitment = commitmentOf(config);
    const { err, meta, postAccounts } = bank.simulate(transaction, {
      verifySignatures,
      commitment,
      replaceBlockhash,
    });
    if (err === 'SignatureFailure') throw new RpcError(-32003, 'Transaction signature verification failure');
    const slot = bank.slots.at(commitment);
    const replacement = () => ({
      blockhash: bank.slots.blockhash(slot),
      lastValidBlockHeight: lastValidBlockHeight(slot),
    });
    const inner = () => (meta ? showInner(meta) : []);
    return withContext(bank, config, {
      accounts: simulatedAccounts(bank, config, postAccounts),
      err,
      fee: feeOf(transaction.message),
      innerInstructions: config['innerInstructions'] === true ? inner() : null,
      loadedAddresses: null,
      logs: meta?.logs() ?? [],
      replacementBlockhash: replaceBlockhash ? replacement() : null,
      returnData: meta ? showReturned(meta) : null,
      unitsConsumed: Number(meta?.computeUnitsConsumed() ?? 0n),
    });
  },

  getSignatureStatuses(bank: Bank, params: Params) {
    const signatures = params[0];
    const config = configParam(params, 1);
    if (!Array.isArray(signatures)) throw invalidParams('Invalid params: expected a list of signatures.');
    if (signatures.length > MAX_STATUSES)
      throw invalidParams(`Too many inputs provided; max ${MAX_STATUSES}`);
    const newest = bank.slots.advance();
    const oldest = config['searchTransactionHistory'] === true ? 0 : newest - STATUS_CACHE_SLOTS;
    const statuses = signatures.map(signature => {
      const record = findRecord(bank, signature);
      return record && record.slot >= oldest ? showStatus(bank, record, newest) : null;
    });
    return withContext(bank, { commitment: 'processed' }, statuses);
  },

  getSignaturesForAddress(bank: Bank, params: Params) {
    const address = addressParam(params, 0);
    const config = configParam(params, 1);
    const commitment = settledCommitmentOf(config);
    const limit = countParam(config['limit'] ?? MAX_SIGNATURES, MAX_SIGNATURES);
    bank.slots.advance();
    const visible = bank.history
      .byAccount(address)
      .filter(record => record.slot <= bank.slots.at(commitment))
      .toReversed();
    const start = positionOf(visible, config['before']);
    const end = positionOf(visible, config['until']);
    return visible
      .slice(start === undefined ? 0 : start + 1, end)
      .slice(0, limit)
      .map(({ signature, slot, err, memo, blockTime }) => ({
        signature,
        slot,
        err,
        memo,
        blockTime,
        confirmationStatus: bank.slots.commitmentOf(slot),
      }));
  },

  getTransaction(bank: Bank, params: Params) {
    const record = findRecord(bank, params[0]);
    const given = params[1];
    const config = typeof given === 'string' ? { encoding: given } : configParam(params, 1);
    const encoding = config['encoding'] ?? 'json';
    if (!isTransactionEncoding(encoding)) {
      throw invalidParams(`encoding must be one of ${TRANSACTION_ENCODINGS.join(', ')}`);
    }
    const commitment = settledCommitmentOf(config);
    bank.slots.advance();
    if (!record || record.slot > bank.slots.at(commitment)) return null;
    const transaction = decodeTransaction(record.wire, 'base64');
    const { version } = transaction.message;
    const most = config['maxSupportedTransactionVersion'];
    if (version !== 'legacy' && typeof most !== 'number') {
      throw new RpcError(
        UNSUPPORTED_TRANSACTION_VERSION,
        `Transaction version (${version}) is not supported by the requesting client. ` +
          'Please try the request again with the following configuration parameter: ' +
          `"maxSupportedTransactionVersion": ${version}`,
      );
    }
    return {
      blockTime: record.blockTime,
      slot: record.slot,
      ...showTransaction(record, transaction, encoding),
      ...(typeof most === 'number' ? { version } : {}),
    };
  },
};

function wireParam(params: Params, config: Config): WireTransaction {
  const encoding = config['encoding'] ?? 'base58';
  if (encoding !== 'base58' && encoding !== 'base64') {
    throw invalidParams('unsupported encoding. Supported encodings: base58, base64');
  }
  return decodeTransaction(textParam(params, 0), encoding);
}

function simulatedAccounts(
  bank: Bank,
  config: Config,
  postAccounts: ReturnType<Bank['simulate']>['postAccounts'],
) {
  const wish = config['accounts'] as { addresses?: unknown; encoding?: unknown } | undefined | null;
  if (!wish) return null;
  if (!Array.isArray(wish.addresses)) throw invalidParams('Invalid params: accounts needs addresses.');
  const after = postAccounts();
  return wish.addresses.map(value => {
    const address = toAddress(value);
    const account = after.get(address) ?? bank.account(address);
    return account ? showAccount(bank, account, { encoding: wish.encoding ?? 'base64' }) : null;
  });
}

/** @throws RpcError for what is no signature */
function findRecord(bank: Bank, signature: unknown): TransactionRecord | undefined {
  // The name of a transaction that ran needs no check, which takes as long as the rest of the answer.
  const found = typeof signature === 'string' ? bank.history.bySignature(signature) : undefined;
  return found ?? bank.history.bySignature(signatureParam(signature));
}

function showStatus(bank: Bank, record: TransactionRecord, newest: number) {
  const confirmationStatus = bank.slots.commitmentOf(record.slot);
  return {
    slot: record.slot,
    // As a real node counts: the votes for a confirmed block are the first.
    confirmations:
      confirmationStatus === 'finalized'
        ? null
        : Math.max(newest - record.slot, confirmationStatus === 'confirmed' ? 1 : 0),
    err: record.err,
    status: record.err === null ? { Ok: null } : { Err: record.err },
    confirmationStatus,
  };
}

/** Where a signature stands in a list; a signature that is not there bounds nothing. */
function positionOf(records: readonly TransactionRecord[], signature: unknown): number | undefined {
  if (signature === undefined || signature === null) return undefined;
  const wanted = signatureParam(signature);
  const index = records.findIndex(record => record.signature === wanted);
  return index < 0 ? undefined : index;
}
