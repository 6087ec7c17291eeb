import { MAX_NANO_USD } from '../lib/money.ts';

/** True for a bigint that int8 can hold. Callers outside the type system may pass anything. */
export function isInt8(amount: unknown): amount is bigint {
  return typeof amount === 'bigint' && amount <= MAX_NANO_USD && amount >= -MAX_NANO_USD;
}

/** True for an amount of money that can move: a bigint from 1 to the largest int8. */
export function isPositiveAmount(amount: unknown): amount is bigint {
  return isInt8(amount) && amount > 0n;
}
