import { GatewayError } from '../../lib/errors.ts';
import { formatUsd, parseUsd } from '../../lib/money.ts';
import type { AgentStatus } from '../../subscriptions/agents.ts';
import { MAXIMUM_TOPUP, MINIMUM_TOPUP } from './limits.ts';

const DAY_MS = 86_400_000;

/**
 * The only place of this dialect where money becomes a JSON number, as the contract demands: whole credits,
 * rounded down. They stay exact up to 2^53, which no balance reaches.
 */
export function creditsNumber(credits: bigint): number {
  return Number(credits);
}

/** A plan that is over has no days left: clients take any number above 0 for an active plan. */
export function statusBody(status: AgentStatus) {
  const leftMs = status.activeUntil.getTime() - status.asOf.getTime();
  return {
    user_id: status.agentId,
    api_keys: status.apiKeys,
    plan: status.plan,
    last_payment: status.lastPaymentAt.toISOString(),
    payment_frequency: status.frequency,
    left_days: Math.max(0, Math.ceil(leftMs / DAY_MS)),
    credits_left: creditsNumber(status.availableCredits),
    plan_active: leftMs > 0,
  };
}

export function keyBody({ agentId, apiKey }: { agentId: string; apiKey: string }) {
  return { api_key: apiKey, user_id: agentId };
}

export function topupBody({ creditsAdded, creditLimit }: { creditsAdded: bigint; creditLimit: bigint }) {
  return { credits_added: creditsNumber(creditsAdded), new_credits_limit: creditsNumber(creditLimit) };
}

/** The base units of every token of this dialect have six decimals. */
const AMOUNT = /^[0-9]{1,9}(\.[0-9]{1,6})?$/;

/**
 * Reads the amount of a top-up in dollars.
 * @returns nano-USD
 * @throws GatewayError malformed_request, amount_too_low or amount_too_high
 */
export function readAmount(text: string): bigint {
  const nanoUsd = AMOUNT.test(text) ? parseUsd(text.replace(/^0+(?=[0-9])/, '')) : undefined;
  if (nanoUsd === undefined || nanoUsd === 0n) {
    throw new GatewayError(
      'malformed_request',
      'amount_usd must be a number of dollars above 0 with at most six decimals',
    );
  }
  if (nanoUsd < MINIMUM_TOPUP) {
    throw new GatewayError('amount_too_low', `amount_usd must be at least ${formatUsd(MINIMUM_TOPUP)}`);
  }
  if (nanoUsd > MAXIMUM_TOPUP) {
    throw new GatewayError('amount_too_high', `amount_usd must be at most ${formatUsd(MAXIMUM_TOPUP)}`);
  }
  return nanoUsd;
}
