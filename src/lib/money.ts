/**
 * Money is an integer count of nano-USD (1e-9 USD) in a bigint. This file is the only place that
 * rounds: what a customer is charged rounds up, what a customer is credited rounds down.
 */

/** Nano-USD in one US dollar. */
export const NANO_PER_USD = 1_000_000_000n;

/** Largest amount the ledger's int8 can hold, in nano-USD (about 9.2 billion dollars). */
export const MAX_NANO_USD = 2n ** 63n - 1n;

const USD_DECIMALS = 9;
const DECIMAL = /^(0|[1-9]\d{0,9})(?:\.(\d{1,9}))?$/;

/**
 * Reads a decimal string of US dollars (`"10"`, `"0.25"`), without sign, exponent or separators.
 * @returns nano-USD, or undefined when the text is not such a number or has more than nine decimals.
 */
export function parseUsd(text: string): bigint | undefined {
  const match = DECIMAL.exec(text);
  if (!match) return undefined;
  const nano = BigInt(match[1] ?? '0') * NANO_PER_USD + BigInt((match[2] ?? '').padEnd(USD_DECIMALS, '0'));
  return nano <= MAX_NANO_USD ? nano : undefined;
}

/** Writes nano-USD as the shortest exact decimal string (`10000000000n` → `"10"`). */
export function formatUsd(nanoUsd: bigint): string {
  const sign = nanoUsd < 0n ? '-' : '';
  const digits = (nanoUsd < 0n ? -nanoUsd : nanoUsd).toString().padStart(USD_DECIMALS + 1, '0');
  const fraction = digits.slice(-USD_DECIMALS).replace(/0+$/, '');
  return `${sign}${digits.slice(0, -USD_DECIMALS)}${fraction ? `.${fraction}` : ''}`;
}

/**
 * Value of a dollar token's base units, rounded down (a credit).
 * @param baseUnits integer count of the token's smallest unit
 * @param decimals the token's decimals (USDC: 6)
 */
export function baseUnitsToNano(baseUnits: bigint, decimals: number): bigint {
  return decimals <= USD_DECIMALS
    ? baseUnits * 10n ** BigInt(USD_DECIMALS - decimals)
    : baseUnits / 10n ** BigInt(decimals - USD_DECIMALS);
}

/** Base units of a dollar token that are needed to cover nano-USD, rounded up (a charge). */
export function nanoToBaseUnits(nanoUsd: bigint, decimals: number): bigint {
  if (decimals >= USD_DECIMALS) return nanoUsd * 10n ** BigInt(decimals - USD_DECIMALS);
  const unit = 10n ** BigInt(USD_DECIMALS - decimals);
  return (nanoUsd + unit - 1n) / unit;
}
