import type { Values } from './read.ts';

/** Top-ups that keys send to others. */
export interface TopupConfig {
  amountRange: { minCents: number; maxCents: number };
  /** The operator's endpoint that delivers live top-ups; empty: a voucher's code is the delivery. */
  deliveryUrl: string;
  /** Signs what that endpoint is asked. */
  deliverySecret: string;
}

const CENTS = /^[1-9]\d{0,8}$/;
const SECRET = /^whsec_[A-Za-z0-9+/]{32,}={0,2}$/;

export function parseTopups(values: Values, problems: string[]): TopupConfig {
  const { TOPUP_MIN_CENTS: min, TOPUP_MAX_CENTS: max, DELIVERY_URL: url, DELIVERY_SECRET: secret } = values;
  if (!CENTS.test(min) || !CENTS.test(max) || Number(min) > Number(max))
    problems.push('TOPUP_MIN_CENTS and TOPUP_MAX_CENTS must be whole cents, the smaller one first');
  if (url && !(URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)))
    problems.push('DELIVERY_URL must be a URL');
  if (url && !SECRET.test(secret))
    problems.push('DELIVERY_SECRET must be whsec_ and standard base64, when DELIVERY_URL is set');
  return {
    amountRange: { minCents: Number(min), maxCents: Number(max) },
    deliveryUrl: url,
    deliverySecret: secret,
  };
}
