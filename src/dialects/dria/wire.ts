import { GatewayError } from '../../lib/errors.ts';
import { formatUsd, parseUsd } from '../../lib/money.ts';
import type { TopupOutcome } from '../../topups/types.ts';
import { CREDIT, MAXIMUM_TOPUP, MINIMUM_TOPUP } from './limits.ts';

/**
 * The only place of this dialect where money becomes a JSON number, as the contract demands: whole credits
 * of one US cent, rounded down. They stay exact, because no int8 of nano-USD holds 2^53 cents.
 */
export function creditsOf(nanoUsd: bigint): number {
  return Number(nanoUsd / CREDIT);
}

/** The same credits in US dollars, with exactly two decimals. */
function usdcOf(nanoUsd: bigint): string {
  const cents = (nanoUsd / CREDIT).toString().padStart(3, '0');
  return `${cents.slice(0, -2)}.${cents.slice(-2)}`;
}

export function balanceBody(availableNanoUsd: bigint) {
  return { balance: creditsOf(availableNanoUsd), balance_usdc: usdcOf(availableNanoUsd) };
}

type Credited = Extract<TopupOutcome, { kind: 'credited' }>;

/** `txHash` is spelt unlike its neighbours; clients read it so. */
export function topupBody({ amountNanoUsd, balanceNanoUsd, transaction }: Credited) {
  return { credits_added: creditsOf(amountNanoUsd), ...balanceBody(balanceNanoUsd), txHash: transaction };
}

const AMOUNT = /^(0|[1-9][0-9]{0,6})(\.[0-9]{1,2})?$/;

/**
 * Reads the amount of a top-up in USDC: whole credits only, so at most two decimals. A JSON number is good
 * when it prints like such a text.
 * @returns nano-USD
 * @throws GatewayError `invalid_amount`, `amount_too_low` or `amount_too_high`
 */
export function readAmount(amount: string | number): bigint {
  const text = String(amount);
  const nanoUsd = AMOUNT.test(text) ? parseUsd(text) : undefined;
  if (nanoUsd === undefined) {
    throw new GatewayError('invalid_amount', 'amount must be USDC with at most two decimals, such as "25"');
  }
  if (nanoUsd < MINIMUM_TOPUP) {
    throw new GatewayError('amount_too_low', `amount must be at least ${formatUsd(MINIMUM_TOPUP)} USDC`);
  }
  if (nanoUsd > MAXIMUM_TOPUP) {
    throw new GatewayError('amount_too_high', `amount must be at most ${formatUsd(MAXIMUM_TOPUP)} USDC`);
  }
  return nanoUsd;
}
