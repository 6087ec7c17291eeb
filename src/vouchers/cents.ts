/** Nano-USD in one US cent. */
const NANO_PER_CENT = 10_000_000n;

/**
 * Whole cents as JSON numbers carry them, rounded down as every balance that is shown. An account holds at
 * most 9.2e11 cents, which a double counts exactly.
 */
export function toCents(nanoUsd: bigint): number {
  return Number(nanoUsd / NANO_PER_CENT);
}

/** @param cents a safe integer */
export function fromCents(cents: number): bigint {
  return BigInt(cents) * NANO_PER_CENT;
}
