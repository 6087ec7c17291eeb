import { randomBytes } from 'node:crypto';
import { encodeBase64Json } from '../../lib/base64.ts';
import { nanoToBaseUnits } from '../../lib/money.ts';
import type { PaymentOption } from '../../topups/types.ts';
import { PROOF_HEADERS } from './headers.ts';

/** A document in both places where clients look for it. */
export interface OfferDocument {
  /** JSON text of the body. */
  body: string;
  /** Value of the PAYMENT-REQUIRED header. */
  header: string;
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
    extra: option.extra,
  };
}

/**
 * The price list of the top-up route. It names no resource and carries no challenge, so one rendering
 * serves every caller: nothing is computed per request.
 */
export function topupOffer(options: readonly PaymentOption[], nanoUsd: bigint): OfferDocument {
  const document = { x402Version: 2, accepts: options.map(option => requirement(option, nanoUsd)) };
  return { body: JSON.stringify(document), header: encodeBase64Json(document) };
}

/** How long a challenge invites to be signed; the proof itself lives as long. */
const CHALLENGE_MS = 5 * 60_000;

/** The chains whose wallets can sign in, by signature type. */
const SIGN_IN_CHAINS = [{ chainId: 'eip155:8453', type: 'eip191' }];

/**
 * The sign-in challenge. Generic clients sign it only when its domain (with port) and origin are those of
 * the answering server, so both come from the public origin. The nonce is a suggestion: clients may invent
 * their own, hence it is not stored.
 */
function signInChallenge(publicOrigin: string, url: string, nowMs: number) {
  return {
    info: {
      domain: new URL(publicOrigin).host,
      uri: url,
      version: '1',
      nonce: randomBytes(8).toString('hex'),
      issuedAt: new Date(nowMs).toISOString(),
      expirationTime: new Date(nowMs + CHALLENGE_MS).toISOString(),
      statement: 'Sign in to Venice AI',
    },
    supportedChains: SIGN_IN_CHAINS,
  };
}

/**
 * The answer to a wallet route called without any credential: how to sign in, with no price.
 * @param path path of the called resource, starting with a slash
 */
export function credentialDiscovery(publicOrigin: string, path: string, nowMs: number): OfferDocument {
  const url = `${publicOrigin}${path}`;
  const paymentRequired = {
    x402Version: 2,
    error: 'Authentication required',
    resource: { url, description: 'Venice API', mimeType: 'application/json' },
    accepts: [],
    extensions: { 'sign-in-with-x': signInChallenge(publicOrigin, url, nowMs) },
  };
  const docs = `${publicOrigin}/docs`;
  const authOptions = {
    apiKey: { header: 'Authorization: Bearer YOUR_API_KEY', getKey: docs, docs },
    x402Wallet: {
      header: PROOF_HEADERS[0],
      legacyHeader: PROOF_HEADERS[1],
      topUp: 'POST /api/v1/x402/top-up',
      docs,
    },
  };
  return {
    body: JSON.stringify({ ...paymentRequired, authOptions }),
    header: encodeBase64Json(paymentRequired),
  };
}
