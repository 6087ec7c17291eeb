import { Type } from 'typebox';
import { GatewayError } from '../lib/errors.ts';
import type { Environment } from '../ports/environment.ts';
import type { DeliveryView, EndpointOwner, EndpointView } from '../webhooks/webhooks.ts';

/** What the routes of the operator's webhooks and of their deliveries have in common. */

export const Environments = Type.Union([Type.Literal('live'), Type.Literal('test')], {
  description: 'live unless said otherwise: an endpoint never gets events of the other environment',
});

export const Refusal = Type.Object({ error: Type.String(), message: Type.String() });
export const OfEnvironment = Type.Object({ environment: Type.Optional(Environments) });
export const ById = Type.Object({ id: Type.String() });
export const common = { tags: ['operator'], security: [{ bearer: [] }] };

export const ownerOf = (environment: Environment = 'live'): EndpointOwner => ({
  kind: 'operator',
  environment,
});

const WebhookFields = {
  id: Type.String(),
  url: Type.String(),
  events: Type.Array(Type.String()),
  environment: Type.Union([Type.Literal('live'), Type.Literal('test')]),
  active: Type.Boolean(),
  createdAt: Type.String({ format: 'date-time' }),
};

export const Webhook = Type.Object(WebhookFields);
export const WebhookWithSecret = Type.Object({
  ...WebhookFields,
  secret: Type.String({ description: 'shown this once' }),
});

export const DeliveryBody = Type.Object({
  id: Type.String(),
  eventId: Type.String(),
  event: Type.String(),
  webhookId: Type.String(),
  transactionId: Type.Union([Type.String(), Type.Null()]),
  state: Type.Union([Type.Literal('pending'), Type.Literal('succeeded'), Type.Literal('failed')]),
  replayOf: Type.Union([Type.String(), Type.Null()]),
  nextAttemptAt: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
  createdAt: Type.String({ format: 'date-time' }),
  attempts: Type.Array(
    Type.Object({
      n: Type.Integer(),
      at: Type.String({ format: 'date-time' }),
      http_status: Type.Union([Type.Integer(), Type.Null()]),
      duration_ms: Type.Integer(),
      error: Type.Union([Type.String(), Type.Null()]),
    }),
  ),
});

export const webhookBody = ({ createdAt, ...endpoint }: EndpointView) => ({
  ...endpoint,
  createdAt: createdAt.toISOString(),
});

export function deliveryBody(delivery: DeliveryView) {
  const { transactionId, replayOf, nextAttemptAt, createdAt, ...rest } = delivery;
  return {
    ...rest,
    transactionId: transactionId ?? null,
    replayOf: replayOf ?? null,
    nextAttemptAt: nextAttemptAt?.toISOString() ?? null,
    createdAt: createdAt.toISOString(),
  };
}

export function malformed(message: string): GatewayError {
  return new GatewayError('malformed_request', message);
}
