import type { Outbound } from '../ports/outbound.ts';
import type { EndpointKind } from './endpoints.ts';
import { publicId } from './ids.ts';
import { signWebhook } from './signing.ts';

/** How long a receiver may take, from the first byte to the last. */
export const ATTEMPT_TIMEOUT_MS = 10_000;

/** What the headers of each kind of endpoint are called; the signatures are the same. */
const HEADERS = {
  aitopup: { prefix: 'X-AiTopUp', userAgent: 'AiTopUp-Webhooks/1' },
  operator: { prefix: 'X-Webhook', userAgent: 'x402-topup-gateway-webhooks/1' },
} as const satisfies Record<EndpointKind, { prefix: string; userAgent: string }>;

export interface AttemptOrder {
  kind: EndpointKind;
  url: string;
  /** Opened; the current one first. */
  secrets: readonly string[];
  eventId: string;
  eventType: string;
  deliveryId: string;
  /** From 1. */
  attempt: number;
  body: string;
  nowMs: number;
}

/** Hands an event over once: signed for this moment, with the same bytes as every time. */
export function attemptDelivery(outbound: Outbound, order: AttemptOrder): ReturnType<Outbound['post']> {
  const { prefix, userAgent } = HEADERS[order.kind];
  const id = publicId('event', order.eventId);
  const timestamp = Math.floor(order.nowMs / 1000);
  const signed = signWebhook({ id, timestamp, body: order.body, secrets: order.secrets });
  return outbound.post({
    url: order.url,
    timeoutMs: ATTEMPT_TIMEOUT_MS,
    body: order.body,
    headers: {
      'Content-Type': 'application/json',
      'User-Agent': userAgent,
      [`${prefix}-Signature`]: signed.stripe,
      [`${prefix}-Event`]: order.eventType,
      [`${prefix}-Delivery`]: publicId('delivery', order.deliveryId),
      [`${prefix}-Attempt`]: String(order.attempt),
      'webhook-id': id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': signed.standard,
    },
  });
}
