/** Who credit can be sent for. */
export const PLATFORMS = ['claude', 'chatgpt', 'gemini'] as const;

/** The published rate of a key. */
export const KEY_RATE = { perMinute: 60, burst: 20 };

export const BODY_LIMIT_BYTES = 65_536;
/** Levels of objects and lists in a body; the deepest that means anything has five. */
export const MAX_BODY_DEPTH = 64;

export const MAX_HISTORY = 50;
export const MAX_DELIVERIES = 100;
export const DEFAULT_DELIVERIES = 50;

export const MAX_REFERENCE = 64;
export const MAX_METADATA = { members: 20, nameLength: 64, valueLength: 500 };

/** Events that an endpoint of this dialect can ask for. */
export const EVENTS = ['topup.delivered', 'topup.failed', 'topup.cancelled', 'balance.low'] as const;

/** When to ask again about a call with the same name that is still at work. */
export const IN_PROGRESS_RETRY_SECONDS = 1;

/** When to come back for a payment whose outcome is not known yet. */
export const PENDING_RETRY_SECONDS = 3;

/** Payments into a wallet. */
export const FUND_RANGE = { minCents: 100, maxCents: 1_000_000 };
