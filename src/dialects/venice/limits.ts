import { NANO_PER_USD } from '../../lib/money.ts';

/** Amounts of the contract, in nano-USD. */
export const MINIMUM_TOPUP = 5n * NANO_PER_USD;
export const SUGGESTED_TOPUP = 10n * NANO_PER_USD;
export const MAXIMUM_TOPUP = 10_000n * NANO_PER_USD;
/** Credit that a wallet needs before it may start a metered request. */
export const MINIMUM_TO_CONSUME = NANO_PER_USD / 10n;

const MINUTE_MS = 60_000;

/** A paid top-up is two calls: the price list and the payment. */
export const TOPUP_RATE = { max: 10, windowMs: MINUTE_MS };
export const BALANCE_RATE = { max: 30, windowMs: MINUTE_MS };
export const TRANSACTIONS_RATE = { max: 20, windowMs: MINUTE_MS };

export const DEFAULT_PAGE = 50;
export const MAXIMUM_PAGE = 100;
