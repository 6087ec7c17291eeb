import { isSvmSignature } from '../lib/svm-address.ts';
import type { ExactPayment } from '../ports/payment.ts';
import type { SettleAnswer } from './reason-codes.ts';

/** Reading of what facilitators answer. A field of the wrong type makes the whole answer unreadable. */

/** One payment kind that a facilitator says it can settle. */
export interface SupportedKind {
  x402Version: number;
  scheme: string;
  /** CAIP-2 in version 2, a short name in version 1. */
  network: string;
  /** Solana: the account that must pay the fee of a payment. */
  extra: { feePayer?: string };
}

/** In the shape of the answer itself, so that what is stored can be read again. */
export interface Supported {
  kinds: readonly SupportedKind[];
  /** Accounts it signs with, by pattern of the network, e.g. `solana:*`. */
  signers: Readonly<Record<string, readonly string[]>>;
}

const MAX_KINDS = 1_000;

const EVM_HASH = /^0x[0-9a-f]{64}$/i;

/** @returns undefined when it is not a `/supported` answer */
export function readSupported(body: unknown): Supported | undefined {
  const root = asObject(body);
  const kinds = root?.['kinds'];
  if (!root || !Array.isArray(kinds) || kinds.length > MAX_KINDS) return undefined;
  const read = kinds.map(readKind);
  if (read.some(kind => kind === undefined)) return undefined;
  const signers = asObject(root['signers'] ?? {});
  if (!signers) return undefined;
  return {
    kinds: read.filter(kind => kind !== undefined),
    signers: Object.fromEntries(Object.entries(signers).map(([family, list]) => [family, textsOf(list)])),
  };
}

function readKind(value: unknown): SupportedKind | undefined {
  const kind = asObject(value);
  const { x402Version, scheme, network } = kind ?? {};
  if (typeof x402Version !== 'number' || typeof scheme !== 'string' || typeof network !== 'string')
    return undefined;
  const feePayer = asObject(kind?.['extra'])?.['feePayer'];
  return { x402Version, scheme, network, extra: typeof feePayer === 'string' ? { feePayer } : {} };
}

/** @returns undefined when it is not a `/verify` answer */
export function readVerifyAnswer(
  body: unknown,
): { isValid: boolean; reason: string | undefined; message: string | undefined } | undefined {
  const root = asObject(body);
  if (typeof root?.['isValid'] !== 'boolean') return undefined;
  return {
    isValid: root['isValid'],
    reason: textOf(root['invalidReason']),
    message: textOf(root['invalidMessage']),
  };
}

/**
 * Reads a `/settle` answer. One about another network is about something else.
 * @returns undefined when it is not an answer to this payment
 */
export function readSettleAnswer(
  body: unknown,
  payment: ExactPayment,
  alias: string,
): SettleAnswer | undefined {
  const root = asObject(body);
  if (typeof root?.['success'] !== 'boolean') return undefined;
  const network = textOf(root['network']);
  if (network !== undefined && network !== '' && ![payment.network, alias].includes(network))
    return undefined;
  return {
    success: root['success'],
    reason: textOf(root['errorReason']),
    transaction: canonicalTransaction(root['transaction'], payment.kind),
  };
}

/** Text that could be a transaction's name, of either kind of chain, in whatever field of whatever answer. */
const LIKE_TRANSACTION = /0x[0-9a-f]{64}|[1-9A-HJ-NP-Za-km-z]{64}/i;

/**
 * Whether an answer that is no readable result may tell of a settlement all the same: it has a field of one, or a text like
 * the name of a transaction.
 * @param body parsed JSON; undefined when it was none
 */
export function hintsAtSettlement(body: unknown): boolean {
  const { success, transaction } = asObject(body) ?? {};
  if (success !== undefined || (transaction ?? '') !== '') return true;
  return body !== undefined && LIKE_TRANSACTION.test(JSON.stringify(body));
}

function canonicalTransaction(value: unknown, kind: ExactPayment['kind']): string | undefined {
  if (typeof value !== 'string') return undefined;
  if (kind === 'solana') return isSvmSignature(value) ? value : undefined;
  return EVM_HASH.test(value) ? value.toLowerCase() : undefined;
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

const MAX_TEXT_LENGTH = 200;

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value.slice(0, MAX_TEXT_LENGTH) : undefined;
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter(item => typeof item === 'string') : [];
}
