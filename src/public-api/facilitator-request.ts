import { type ErrorCode, GatewayError } from '../lib/errors.ts';
import { canonicalEvmAddress } from '../lib/evm-address.ts';
import type { ExactOption } from '../protocols/x402-option.ts';

/** A token that we settle for others. */
export interface ServedToken {
  /** CAIP-2. */
  network: string;
  networkAlias: string;
  /** Lower-case. */
  asset: string;
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
}

const UINT = /^[1-9]\d{0,77}$/;

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
  if (canonicalEvmAddress(text('asset')) !== token.asset) {
    throw refuse('unsupported_asset', 'this token is not settled here');
  }
  const payTo = canonicalEvmAddress(text('payTo'));
  if (payTo === undefined) throw refuse('payment_malformed', 'paymentRequirements.payTo is not an address');
  const amount = text(payload['x402Version'] === 1 ? 'maxAmountRequired' : 'amount');
  if (!UINT.test(amount)) throw refuse('payment_malformed', 'the amount must be a positive integer');
  return { payload, option: { ...token, payTo }, amountBaseUnits: BigInt(amount), network };
}

function refuse(code: ErrorCode, message: string): GatewayError {
  return new GatewayError(code, message);
}
