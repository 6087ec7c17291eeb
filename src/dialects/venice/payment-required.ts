import { encodeBase64Json } from '../../lib/base64.ts';
import { nanoToBaseUnits } from '../../lib/money.ts';
import { offerExtensions, offerExtra, offeredNow, requireOffered } from '../../protocols/x402-offer.ts';
import type { PaymentOption } from '../../topups/types.ts';
import { PROOF_HEADERS } from './headers.ts';
import { MINIMUM_TO_CONSUME, MINIMUM_TOPUP, SUGGESTED_TOPUP } from './limits.ts';
import { signInChallenge } from './sign-in-challenge.ts';
import { usdNumber } from './wire.ts';

/** A 402 in both places where clients look for it. */
export interface PaymentRequired {
  /** JSON text of the body. */
  body: string;
  /** Value of the PAYMENT-REQUIRED header. */
  header: string;
}

/** What is asked for, and when. */
export interface AskedResource {
  /** Origin that clients reach us at, without a trailing slash. */
  publicOrigin: string;
  /** Path of the called resource, starting with a slash. */
  path: string;
  nowMs: number;
}

/** One x402 payment requirement priced at the given amount. */
function requirement(option: PaymentOption, nanoUsd: bigint) {
  return {
    scheme: option.scheme,
    network: option.network,
    amount: nanoToBaseUnits(nanoUsd, option.assetDecimals).toString(),
    asset: option.asset,
    payTo: option.payTo,
    maxTimeoutSeconds: option.maxTimeoutSeconds,
    extra: offerExtra(option),
  };
}

/**
 * Makes the price list of the top-up route. It names no resource and carries no challenge, so one rendering
 * serves every caller, except on Solana, where the memo must be new each time. What is returned throws GatewayError
 * `unavailable` while nothing can be offered.
 */
export function topupOffer(options: readonly PaymentOption[], nanoUsd: bigint): () => PaymentRequired {
  const render = () => {
    const document = {
      x402Version: 2,
      accepts: requireOffered(options).map(option => requirement(option, nanoUsd)),
      ...offerExtensions(options),
    };
    return { body: JSON.stringify(document), header: encodeBase64Json(document) };
  };
  if (options.some(({ solana }) => solana !== undefined)) return render;
  let rendered: PaymentRequired | undefined;
  return () => (rendered ??= render());
}

/**
 * The x402 object of every route but the top-up: what a top-up of the suggested amount would cost, which is only
 * told, because no payment is taken here. Solana has its short name in it, unlike in the price list.
 */
function informative(error: string, asked: AskedResource, options: readonly PaymentOption[]) {
  const url = `${asked.publicOrigin}${asked.path}`;
  return {
    x402Version: 2,
    error,
    resource: { url, description: DESCRIPTION, mimeType: 'application/json' },
    accepts: offeredNow(options).map(option => ({
      ...requirement(option, SUGGESTED_TOPUP),
      ...(option.network.startsWith('solana:') && { network: option.networkAlias }),
    })),
    extensions: { 'sign-in-with-x': signInChallenge(asked.publicOrigin, url, asked.nowMs) },
  };
}

const BASE = 'eip155:8453';
const DESCRIPTION = 'Venice API';
const TOPUP = 'POST /api/v1/x402/top-up';

/**
 * The answer to a call without any credential: how to sign in.
 * @param options ways to pay for a metered route; none for a route that costs nothing
 */
export function credentialRequired(
  asked: AskedResource,
  options: readonly PaymentOption[] = [],
): PaymentRequired {
  const paymentRequired = informative('Authentication required', asked, options);
  const docs = `${asked.publicOrigin}/docs`;
  const authOptions = {
    apiKey: { header: 'Authorization: Bearer YOUR_API_KEY', getKey: docs, docs },
    x402Wallet: { header: PROOF_HEADERS[0], legacyHeader: PROOF_HEADERS[1], topUp: TOPUP, docs },
  };
  return {
    body: JSON.stringify({ ...paymentRequired, authOptions }),
    header: encodeBase64Json(paymentRequired),
  };
}

/**
 * The answer to a wallet that has signed in and has too little credit to start a metered request. Clients may pay
 * and try again for as long as they get it, so it is never given for a reason that a top-up does not cure. It names
 * what can be paid on now; the instructions are about Base, where it is offered.
 * @throws GatewayError `unavailable` while nothing can be offered
 */
export function creditRequired(
  asked: AskedResource,
  options: readonly PaymentOption[],
  availableNanoUsd: bigint,
): PaymentRequired {
  const offered = requireOffered(options);
  const described = offered.find(({ network }) => network === BASE) ?? offered[0];
  const paymentRequired = informative('Payment required', asked, options);
  const body = {
    error: 'Payment required',
    code: 'PAYMENT_REQUIRED',
    reason: 'insufficient_balance',
    message: 'Insufficient x402 balance',
    currentBalanceUsd: usdNumber(availableNanoUsd),
    minimumBalanceUsd: usdNumber(MINIMUM_TO_CONSUME),
    description: DESCRIPTION,
    suggestedTopUpUsd: usdNumber(SUGGESTED_TOPUP),
    minimumTopUpUsd: usdNumber(MINIMUM_TOPUP),
    supportedTokens: ['USDC'],
    supportedChains: [...new Set(offered.map(option => option.networkAlias))],
    topUpInstructions: {
      step1: `Ask ${TOPUP} without a payment for the price list`,
      step2: 'Sign a payment for one entry of its accepts, of the minimum or more',
      step3: `Send ${TOPUP} again with the signed payment in the header PAYMENT-SIGNATURE`,
      receiverWallet: described.payTo,
      tokenAddress: described.asset,
      tokenDecimals: described.assetDecimals,
      network: described.network,
      minimumAmountUsd: usdNumber(MINIMUM_TOPUP),
    },
    siwxChallenge: paymentRequired.extensions['sign-in-with-x'],
  };
  return { body: JSON.stringify(body), header: encodeBase64Json(paymentRequired) };
}
