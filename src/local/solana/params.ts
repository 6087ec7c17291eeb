import { isSvmAddress, isSvmSignature } from '../../lib/svm-address.ts';
import type { Bank } from './bank.ts';
import { invalidParams, MIN_CONTEXT_SLOT_NOT_REACHED, RpcError } from './rpc-error.ts';
import { COMMITMENTS, type Commitment } from './slots.ts';

export type Params = readonly unknown[];
export type Config = Readonly<Record<string, unknown>>;

/** The version of the protocol that answers follow. */
export const API_VERSION = '3.0.0';

export function textParam(params: Params, index: number): string {
  const value = params[index];
  if (value === undefined)
    throw invalidParams('`params` should have at least ' + (index + 1) + ' argument(s)');
  if (typeof value !== 'string') throw invalidParams('Invalid params: expected a string.');
  return value;
}

export function addressParam(params: Params, index: number): string {
  return toAddress(textParam(params, index));
}

export function toAddress(value: unknown): string {
  if (typeof value === 'string' && isSvmAddress(value)) return value;
  throw invalidParams(
    /^[1-9A-HJ-NP-Za-km-z]+$/.test(String(value)) ? 'Invalid param: WrongSize' : 'Invalid param: Invalid',
  );
}

export function signatureParam(value: unknown): string {
  if (typeof value === 'string' && isSvmSignature(value)) return value;
  throw invalidParams('Invalid param: WrongSize');
}

/** @param most largest value that is taken. */
export function countParam(value: unknown, most: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most) return value;
  throw invalidParams(`Invalid params: expected a whole number of at most ${most}.`);
}

export function configParam(params: Params, index: number): Config {
  const value = params[index] ?? {};
  if (typeof value !== 'object' || Array.isArray(value))
    throw invalidParams('Invalid params: expected a map.');
  return value as Config;
}

/** `finalized` where nothing is said, as on every node. */
export function commitmentOf(config: Config, key = 'commitment'): Commitment {
  const value = config[key] ?? 'finalized';
  const found = COMMITMENTS.find(commitment => commitment === value);
  if (!found) throw invalidParams('Invalid params: unknown commitment.');
  return found;
}

/** Where a node only knows what was voted on. */
export function settledCommitmentOf(config: Config): Commitment {
  const commitment = commitmentOf(config);
  if (commitment === 'processed') throw invalidParams('Method does not support commitment below `confirmed`');
  return commitment;
}

/** The slot that an answer speaks of. @throws RpcError when the caller knows a newer one. */
export function contextSlot(bank: Bank, config: Config): number {
  bank.slots.advance();
  const slot = bank.slots.at(commitmentOf(config));
  const least = config['minContextSlot'];
  if (typeof least === 'number' && least > slot) {
    throw new RpcError(MIN_CONTEXT_SLOT_NOT_REACHED, 'Minimum context slot has not been reached', {
      contextSlot: slot,
    });
  }
  return slot;
}

export function withContext<T>(bank: Bank, config: Config, value: T) {
  return { context: { apiVersion: API_VERSION, slot: contextSlot(bank, config) }, value };
}
