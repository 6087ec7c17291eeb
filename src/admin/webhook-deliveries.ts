import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { GatewayError } from '../lib/errors.ts';
import type { Webhooks } from '../webhooks/webhooks.ts';
import {
  ById,
  common,
  DeliveryBody,
  deliveryBody,
  Environments,
  malformed,
  OfEnvironment,
  ownerOf,
  Refusal,
} from './webhook-wire.ts';

const DeliveryQuery = Type.Object({
  environment: Type.Optional(Environments),
  webhookId: Type.Optional(Type.String()),
  event: Type.Optional(Type.String({ pattern: '^[a-z._]+$' })),
  state: Type.Optional(
    Type.Union([Type.Literal('pending'), Type.Literal('succeeded'), Type.Literal('failed')]),
  ),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 50 })),
  before: Type.Optional(Type.String({ description: 'id of the last delivery of the page before' })),
});

/** The log of deliveries to the operator's endpoints, and one of them once more. */
export function webhookDeliveryRoutes(app: FastifyInstance, webhooks: Webhooks): void {
  app.get<{ Querystring: Static<typeof DeliveryQuery> }>(
    '/webhooks/deliveries',
    {
      schema: {
        ...common,
        operationId: 'listWebhookDeliveries',
        summary: 'What was delivered to the operator’s webhooks, newest first',
        querystring: DeliveryQuery,
        response: {
          200: Type.Object({ deliveries: Type.Array(DeliveryBody), hasMore: Type.Boolean() }),
          400: Refusal,
          401: Refusal,
        },
      },
    },
    async request => {
      const { environment, limit = 50, ...filter } = request.query;
      const page = await webhooks.deliveries(ownerOf(environment), { ...filter, limit });
      return { deliveries: page.deliveries.map(deliveryBody), hasMore: page.hasMore };
    },
  );

  app.get<{ Params: Static<typeof ById>; Querystring: Static<typeof OfEnvironment> }>(
    '/webhooks/deliveries/:id',
    {
      schema: {
        ...common,
        operationId: 'getWebhookDelivery',
        summary: 'One delivery with its attempts',
        params: ById,
        querystring: OfEnvironment,
        response: { 200: DeliveryBody, 401: Refusal, 404: Refusal },
      },
    },
    async request => {
      const found = await webhooks.delivery(ownerOf(request.query.environment), request.params.id);
      if (!found) throw new GatewayError('not_found', 'there is no delivery with this id');
      return deliveryBody(found);
    },
  );

  app.post<{ Params: Static<typeof ById>; Querystring: Static<typeof OfEnvironment> }>(
    '/webhooks/deliveries/:id/replay',
    {
      schema: {
        ...common,
        operationId: 'replayWebhookDelivery',
        summary: 'Deliver the same event once more',
        params: ById,
        querystring: OfEnvironment,
        response: { 200: DeliveryBody, 400: Refusal, 401: Refusal, 404: Refusal, 409: Refusal },
      },
    },
    async request => {
      const result = await webhooks.replay(ownerOf(request.query.environment), request.params.id);
      if (result.kind === 'replayed') return deliveryBody(result.delivery);
      if (result.kind === 'invalid_url') throw malformed(result.message);
      if (result.kind === 'pending') throw new GatewayError('conflict', 'the delivery is still under way');
      throw new GatewayError('not_found', 'there is no such delivery, or its webhook is deleted');
    },
  );
}
