import { NANO_PER_USD } from '../../lib/money.ts';

/** One credit, in nano-USD. */
export const CREDIT = NANO_PER_USD / 100n;

export const MINIMUM_TOPUP = CREDIT;
export const MAXIMUM_TOPUP = 10_000n * NANO_PER_USD;

/** When to come back for a payment whose outcome is not known yet. */
export const PENDING_RETRY_SECONDS = 2;

const MINUTE_MS = 60_000;

/** Dria publishes no numbers; these are far above what people and the command-line tool do. */
export const REGISTER_RATE = { max: 10, windowMs: MINUTE_MS };
export const TOPUP_RATE = { max: 60, windowMs: MINUTE_MS };
export const READ_RATE = { max: 300, windowMs: MINUTE_MS };
export const POST_MESSAGE_RATE = { max: 10, windowMs: MINUTE_MS };

export const DEFAULT_MESSAGES = 50;
export const MAXIMUM_MESSAGES = 200;

/** The largest request is a channel message. */
export const BODY_LIMIT_BYTES = 65_536;
