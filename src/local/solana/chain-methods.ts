import { readSvmMessage, type SvmMessage } from '../../lib/svm-message.ts';
import type { Bank } from './bank.ts';
import { feeOf } from './fee.ts';
import {
  API_VERSION,
  addressParam,
  configParam,
  contextSlot,
  countParam,
  type Params,
  textParam,
  withContext,
} from './params.ts';
import { invalidParams } from './rpc-error.ts';
import { blockHeight, lastValidBlockHeight } from './slots.ts';

/** The real mainnet's: the chain stands in for it, under its CAIP-2 name. */
const GENESIS_HASH = '5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d';

const SLOTS_PER_EPOCH = 432_000;
const MAX_ACCOUNT_BYTES = 10 * 1024 * 1024;

/** What the chain is and what time it is. */
export const chainMethods = {
  getHealth: () => 'ok',
  getVersion: () => ({ 'solana-core': `${API_VERSION}-local`, 'feature-set': 0 }),
  getGenesisHash: () => GENESIS_HASH,

  getSlot: (bank: Bank, params: Params) => contextSlot(bank, configParam(params, 0)),
  getBlockHeight: (bank: Bank, params: Params) => blockHeight(contextSlot(bank, configParam(params, 0))),

  getFirstAvailableBlock: (bank: Bank) => bank.history.firstSlot(),

  getEpochInfo(bank: Bank, params: Params) {
    const slot = contextSlot(bank, configParam(params, 0));
    return {
      absoluteSlot: slot,
      blockHeight: blockHeight(slot),
      epoch: Math.floor(slot / SLOTS_PER_EPOCH),
      slotIndex: slot % SLOTS_PER_EPOCH,
      slotsInEpoch: SLOTS_PER_EPOCH,
      transactionCount: bank.history.count(),
    };
  },

  getLatestBlockhash(bank: Bank, params: Params) {
    const config = configParam(params, 0);
    const slot = contextSlot(bank, config);
    const blockhash = bank.slots.blockhash(slot);
    return withContext(bank, config, { blockhash, lastValidBlockHeight: lastValidBlockHeight(slot) });
  },

  isBlockhashValid(bank: Bank, params: Params) {
    const blockhash = addressParam(params, 0);
    const config = configParam(params, 1);
    const known = bank.slots.findBlockhash(blockhash, contextSlot(bank, config)) !== undefined;
    return withContext(bank, config, known);
  },

  getMinimumBalanceForRentExemption: (bank: Bank, params: Params) =>
    bank.rentExemption(countParam(params[0], MAX_ACCOUNT_BYTES)),

  getFeeForMessage(bank: Bank, params: Params) {
    const config = configParam(params, 1);
    const message = decodeMessage(textParam(params, 0));
    const slot = contextSlot(bank, config);
    const known = bank.slots.findBlockhash(message.blockhash, slot) !== undefined;
    return withContext(bank, config, known ? feeOf(message) : null);
  },

  getRecentPrioritizationFees(bank: Bank) {
    const newest = bank.slots.advance();
    return Array.from({ length: 150 }, (_, age) => ({ slot: newest - 149 + age, prioritizationFee: 0 }));
  },
};

function decodeMessage(text: string): SvmMessage {
  const message = readSvmMessage(Buffer.from(text, 'base64'));
  if (!message) throw invalidParams('failed to deserialize message');
  return message;
}
