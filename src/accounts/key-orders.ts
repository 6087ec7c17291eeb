import { parseAddressRange } from '../customers/address-list.ts';
import { API_KEY_PREFIXES, type KeyDialect } from '../customers/api-key-format.ts';
import { GatewayError } from '../lib/errors.ts';
import { parseUsd } from '../lib/money.ts';
import type { Environment } from '../ports/environment.ts';
import { parseWalletId, type WalletId } from './wallet-ids.ts';

/**
 * Reads what an operator writes about keys, on the command line and over HTTP. What is absent stays so; what cannot be
 * read is a GatewayError `malformed_request` that says how it is written.
 */

export const KEY_DIALECTS = Object.keys(API_KEY_PREFIXES) as readonly KeyDialect[];

export function readDialect(text: string): KeyDialect {
  const dialect = KEY_DIALECTS.find(each => each === text);
  if (!dialect) throw malformed(`dialect must be one of ${KEY_DIALECTS.join(', ')}`);
  return dialect;
}

/** The dialect aitopup calls the test environment staging. */
export function readEnvironment(text: string): Environment {
  if (text === 'live') return 'live';
  if (text === 'test' || text === 'staging') return 'test';
  throw malformed('environment must be live or test');
}

export function readWallet(text: string): WalletId {
  const wallet = parseWalletId(text);
  if (!wallet) throw malformed('wallet must be a CAIP-10 account id, e.g. eip155:8453:0x…');
  return wallet;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function readId(name: string, text: string): string {
  if (!UUID.test(text)) throw malformed(`${name} must be an id, e.g. 01a1fafa-e567-7697-b12b-f32732332f41`);
  return text.toLowerCase();
}

const ISO_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$/;

/** Only times that name their zone: Date would read anything else in the server's own. */
export function readExpiry(text: string, nowMs: number): Date {
  const time = new Date(ISO_TIME.test(text) ? text : Number.NaN);
  if (!(time.getTime() > nowMs)) {
    throw malformed('the expiry must be a time to come with its zone, e.g. 2027-12-31T23:59:59Z');
  }
  return time;
}

/** What an int8 of nano-USD holds. */
const MAX_CAP = 2n ** 63n - 1n;

export function readCap(text: string): bigint {
  const cap = parseUsd(text);
  if (cap === undefined || cap < 1n || cap > MAX_CAP) {
    throw malformed('the cap must be US dollars a month, a decimal above 0, e.g. 25.50');
  }
  return cap;
}

const MAX_ADDRESSES = 100;

export function readAddresses(texts: readonly string[]): readonly string[] {
  if (texts.length > MAX_ADDRESSES || !texts.every(parseAddressRange)) {
    throw malformed(
      `allowed addresses must be at most ${MAX_ADDRESSES} addresses or CIDRs, e.g. 203.0.113.0/24`,
    );
  }
  return texts;
}

const MAX_ACTOR_CHARACTERS = 200;

export function readActor(text: string): string {
  const actor = text.trim();
  if (actor === '' || actor.length > MAX_ACTOR_CHARACTERS) {
    throw malformed(`the actor must be 1 to ${MAX_ACTOR_CHARACTERS} characters: who asks for it`);
  }
  return actor;
}

export function malformed(message: string): GatewayError {
  return new GatewayError('malformed_request', message);
}
