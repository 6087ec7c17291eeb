import { NANO_PER_USD } from '../lib/money.ts';

/**
 * Credits are a view of money and never stored: an amount is rounded once, when it is shown.
 */
export interface CreditView {
  readonly creditsPerUsd: bigint;
  /** Whole credits of an amount of money, rounded down. */
  creditsOf(nanoUsd: bigint): bigint;
  /** Money of so many credits, rounded up, so that it is shown as no fewer. */
  moneyOf(credits: bigint): bigint;
}

/** @param creditsPerUsd a whole number above zero */
export function createCreditView(creditsPerUsd: bigint): CreditView {
  return {
    creditsPerUsd,
    creditsOf: nanoUsd => (nanoUsd <= 0n ? 0n : (nanoUsd * creditsPerUsd) / NANO_PER_USD),
    moneyOf: credits => (credits * NANO_PER_USD + creditsPerUsd - 1n) / creditsPerUsd,
  };
}
