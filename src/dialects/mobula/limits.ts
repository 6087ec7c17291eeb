import { NANO_PER_USD } from '../../lib/money.ts';

/** Price of the operations that sell nothing but an answer. */
export const FEE = NANO_PER_USD / 1_000n;

export const MINIMUM_TOPUP = 20n * NANO_PER_USD;
/** Mobula documents none; a bound is needed. */
export const MAXIMUM_TOPUP = 10_000n * NANO_PER_USD;

/** When to come back for a payment whose outcome is not known yet. */
export const PENDING_RETRY_SECONDS = 2;

/** Mobula publishes no limit for these; every call that is answered with more than an offer costs money. */
export const AGENT_RATE = { max: 120, windowMs: 60_000 };

/** Calls that make tokens, of one key. */
export const TOKEN_RATE = { max: 5, windowMs: 60_000 };

export const TOKEN_LIFETIME_MS = { least: 60_000, most: 86_400_000, fallback: 3_600_000 };
export const TOKEN_COUNT = { most: 25, fallback: 1 };
export const TOKEN_REQUESTS = { most: 1_000_000, fallback: 5_000 };

/** Nobody pays with a body; what comes all the same is read and dropped. */
export const BODY_LIMIT_BYTES = 16_384;
