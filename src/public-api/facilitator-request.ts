import { type ErrorCode, GatewayError } from '../lib/errors.ts';
import { canonicalEvmAddress } from '../lib/evm-address.ts';
import { associatedTokenAccount, isSvmAddress } from '../lib/svm-address.ts';
import type { ExactOption } from '../protocols/x402-option.ts';

/** A token that we settle for others. */
export interface ServedToken {
  /** CAIP-2. */
  network: string;
  networkAlias: string;
  /** Lower-case on EVM, as it is on Solana. */
  asset: string;
  /** On Solana: the token's program, and our account that pays the fee. */
  solana?: { tokenProgram: string; feePayer: string };
}

/** One request to settle or verify, in whichever version it came. */
export interface FacilitatorRequest {
  /** The payment payload, with its version. */
  payload: Record<string, unknown>;
  /** The receiver and token that the requirements name. */
  option: ExactOption;
  amountBaseUnits: bigint;
  /** As the caller spells it, to be repeated in the answer. */
  network: string;
  /** On Solana: the memo that the seller demands. */
  memo: string | undefined;
}

const UINT = /^[1-9]\d{0,77}$/;

/** Longer than the network's clients sign, so that it can only be meant as an attack. */
const MAX_MEMO_CHARACTERS = 256;

/**
 * Reads `{ x402Version?, paymentPayload, paymentRequirements }`. The version is the payload's, or the
 * envelope's when the payload lacks it; version 1 calls the amount `maxAmountRequired`.
 * @throws GatewayError payment_malformed, unsupported_network, unsupported_scheme or unsupported_asset
 */
export function readFacilitatorRequest(body: unknown, tokens: readonly ServedToken[]): FacilitatorRequest {
  const { x402Version, paymentPayload, paymentRequirements } = body as {
    x402Version?: number;
    paymentPayload: Record<string, unknown>;
    paymentRequirements: Record<string, unknown>;
  };
  const payload: Record<string, unknown> = { x402Version, ...paymentPayload };
  const text = (name: string): string => {
    const value = paymentRequirements[name];
    if (typeof value === 'string') return value;
    throw refuse('payment_malformed', `paymentRequirements.${name} is missing`);
  };
  if (text('scheme') !== 'exact') throw refuse('unsupported_scheme', 'only the scheme exact is settled');
  const network = text('network');
  const token = tokens.find(each => each.network === network || each.networkAlias === network);
  if (!token) throw refuse('unsupported_network', 'this network is not served');
  if (canonicalAddress(text('asset'), token) !== token.asset) {
    throw refuse('unsupported_asset', 'this token is not settled here');
  }
  const payTo = canonicalAddress(text('payTo'), token);
  if (payTo === undefined) throw refuse('payment_malformed', 'paymentRequirements.payTo is not an address');
  const amount = text(payload['x402Version'] === 1 ? 'maxAmountRequired' : 'amount');
  if (!UINT.test(amount)) throw refuse('payment_malformed', 'the amount must be a positive integer');
  const memo = token.solana && readMemo(paymentRequirements['extra']);
  return { payload, option: optionOf(token, payTo), amountBaseUnits: BigInt(amount), network, memo };
}

/** EVM addresses have many spellings, Solana's have one. */
function canonicalAddress(address: string, { solana }: ServedToken): string | undefined {
  if (!solana) return canonicalEvmAddress(address);
  return isSvmAddress(address) ? address : undefined;
}

/** On Solana the money goes to the one token account that belongs to the receiver and the token. */
function optionOf({ network, networkAlias, asset, solana }: ServedToken, payTo: string): ExactOption {
  const option = { network, networkAlias, asset, payTo };
  if (!solana) return option;
  const { tokenProgram } = solana;
  return {
    ...option,
    solana: { tokenProgram, tokenAccount: associatedTokenAccount(payTo, asset, tokenProgram) },
  };
}

function readMemo(extra: unknown): string | undefined {
  const memo = (extra as { memo?: unknown } | null | undefined)?.memo;
  if (typeof memo !== 'string' || memo === '') return undefined;
  if (memo.length > MAX_MEMO_CHARACTERS) throw refuse('payment_malformed', 'the memo is too long');
  return memo;
}

function refuse(code: ErrorCode, message: string): GatewayError {
  return new GatewayError(code, message);
}
