import type { Clock } from '../../lib/clock.ts';
import type { DeliveryOrder, DeliveryOutcome, DeliveryProvider } from '../../ports/delivery-provider.ts';
import type { Outbound } from '../../ports/outbound.ts';
import { signWebhook } from '../../webhooks/signing.ts';
import { fromCents, toCents } from '../cents.ts';

export interface DeliveryWebhookOptions {
  outbound: Outbound;
  /** The operator's own endpoint. */
  url: string;
  /** `whsec_…`: signs what is asked, as webhooks are signed. */
  secret: string;
  clock: Clock;
}

const TIMEOUT_MS = 8_000;
const RETRY_MS = 5_000;
/** Beyond it a balance is no balance; what an account of ours can hold is near it. */
const MAX_CENTS = 9e11;

/**
 * Asks the operator's endpoint to deliver. It answers 2xx with `{ "status": "delivered" }` (and `new_balance_cents`,
 * if it knows what the recipient has then), `"pending"` or `"failed"` (with `failure_reason`); everything else, silence included, is not known and is asked again. The
 * `Idempotency-Key` is the transaction's id, so that asking twice delivers once.
 */
export function createDeliveryWebhook({
  outbound,
  url,
  secret,
  clock,
}: DeliveryWebhookOptions): DeliveryProvider {
  return {
    name: 'webhook',
    isOutside: true,
    async deliver(order) {
      const body = JSON.stringify(bodyOf(order));
      const timestamp = Math.floor(clock.nowMs() / 1000);
      const id = order.transactionId;
      const { stripe, standard } = signWebhook({ id, timestamp, body, secrets: [secret] });
      const result = await outbound.post({
        url,
        body,
        timeoutMs: TIMEOUT_MS,
        headers: {
          'Content-Type': 'application/json',
          'User-Agent': 'x402-topup-gateway-delivery/1',
          'Idempotency-Key': id,
          'X-Webhook-Signature': stripe,
          'webhook-id': id,
          'webhook-timestamp': String(timestamp),
          'webhook-signature': standard,
        },
      });
      const isSuccess = result.kind === 'answered' && result.status >= 200 && result.status < 300;
      return isSuccess ? readAnswer(result.body) : { kind: 'pending', retryAfterMs: RETRY_MS };
    },
  };
}

function bodyOf(order: DeliveryOrder) {
  return {
    transaction_id: order.transactionId,
    environment: order.environment === 'live' ? 'live' : 'staging',
    platform: order.platform,
    amount_cents: toCents(order.amountNanoUsd),
    currency: 'USD',
    recipient_email: order.recipientEmail ?? null,
    reference: order.reference ?? null,
    metadata: order.metadata,
  };
}

function readAnswer(text: string): DeliveryOutcome {
  const { status, failure_reason: reason, new_balance_cents: cents } = parseObject(text);
  if (status === 'delivered') {
    const isTold =
      typeof cents === 'number' && Number.isSafeInteger(cents) && cents >= 0 && cents <= MAX_CENTS;
    return { kind: 'delivered', ...(isTold && { newBalanceNanoUsd: fromCents(cents) }) };
  }
  if (status === 'failed') {
    return { kind: 'failed', reason: reason === 'recipient_rejected' ? reason : 'provider_error' };
  }
  return { kind: 'pending', retryAfterMs: RETRY_MS };
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
