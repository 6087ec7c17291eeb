import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { GatewayError } from '../lib/errors.ts';
import type { Environment } from '../ports/environment.ts';
import type { DeliveryView, EndpointOwner, EndpointView, Webhooks } from '../webhooks/webhooks.ts';

const Environments = Type.Union([Type.Literal('live'), Type.Literal('test')], {
  description: 'live unless said otherwise: an endpoint never gets events of the other environment',
});

const NewWebhook = Type.Object(
  {
    url: Type.String({ maxLength: 4096, examples: ['https://ops.example.com/hooks'] }),
    events: Type.Optional(
      Type.Array(Type.String(), { minItems: 1, maxItems: 50, description: 'all when absent' }),
    ),
    environment: Type.Optional(Environments),
    verify: Type.Optional(Type.Boolean({ description: 'store it only if a signed test event is taken' })),
  },
  { additionalProperties: false },
);

const WebhookFields = {
  id: Type.String(),
  url: Type.String(),
  events: Type.Array(Type.String()),
  environment: Type.Union([Type.Literal('live'), Type.Literal('test')]),
  active: Type.Boolean(),
  createdAt: Type.String({ format: 'date-time' }),
};

const Webhook = Type.Object(WebhookFields);
const WebhookWithSecret = Type.Object({
  ...WebhookFields,
  secret: Type.String({ description: 'shown this once' }),
});

const DeliveryBody = Type.Object({
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

const Refusal = Type.Object({ error: Type.String(), message: Type.String() });
const OfEnvironment = Type.Object({ environment: Type.Optional(Environments) });
const DeliveryQuery = Type.Object({
  environment: Type.Optional(Environments),
  webhookId: Type.Optional(Type.String()),
  event: Type.Optional(Type.String()),
  state: Type.Optional(
    Type.Union([Type.Literal('pending'), Type.Literal('succeeded'), Type.Literal('failed')]),
  ),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 50 })),
  before: Type.Optional(Type.String({ description: 'id of the last delivery of the page before' })),
});
const ById = Type.Object({ id: Type.String() });
const common = { tags: ['operator'], security: [{ bearer: [] }] };

const ownerOf = (environment: Environment = 'live'): EndpointOwner => ({ kind: 'operator', environment });

/** The operator's endpoints: they are told about the events of every account of one environment. */
export function adminWebhookRoutes(app: FastifyInstance, webhooks: Webhooks): void {
  app.post<{ Body: Static<typeof NewWebhook> }>(
    '/webhooks',
    {
      schema: {
        ...common,
        operationId: 'registerWebhook',
        summary: 'Be told about the events of every account',
        body: NewWebhook,
        response: { 200: WebhookWithSecret, 400: Refusal, 401: Refusal },
      },
    },
    async request => {
      const { url, events = webhooks.eventTypes, environment, verify = false } = request.body;
      const unknown = events.find(event => !webhooks.eventTypes.includes(event));
      if (unknown !== undefined) throw malformed(`there is no event ${unknown}`);
      const result = await webhooks.register(ownerOf(environment), { url, events, verify });
      if (result.kind === 'registered') return { ...webhookBody(result.endpoint), secret: result.secret };
      if (result.kind === 'invalid_url') throw malformed(result.message);
      if (result.kind === 'too_many') throw malformed('there are 10 webhooks of this environment already');
      throw malformed(`the test event was not taken (${result.httpStatus ?? 'no answer'})`);
    },
  );

  app.get<{ Querystring: Static<typeof OfEnvironment> }>(
    '/webhooks',
    {
      schema: {
        ...common,
        operationId: 'listWebhooks',
        summary: 'The operator’s webhooks',
        querystring: OfEnvironment,
        response: { 200: Type.Object({ webhooks: Type.Array(Webhook) }), 401: Refusal },
      },
    },
    async request => ({
      webhooks: (await webhooks.list(ownerOf(request.query.environment))).map(webhookBody),
    }),
  );

  app.delete<{ Params: Static<typeof ById>; Querystring: Static<typeof OfEnvironment> }>(
    '/webhooks/:id',
    {
      schema: {
        ...common,
        operationId: 'deleteWebhook',
        summary: 'Forget a webhook and drop what waits for it',
        params: ById,
        querystring: OfEnvironment,
        response: {
          200: Type.Object({ id: Type.String(), deleted: Type.Literal(true) }),
          401: Refusal,
          404: Refusal,
        },
      },
    },
    async request => {
      const { id } = request.params;
      if (!(await webhooks.remove(ownerOf(request.query.environment), id)))
        throw new GatewayError('not_found', 'there is no webhook with this id');
      return { id, deleted: true as const };
    },
  );

  deliveryRoutes(app, webhooks);
}

const webhookBody = ({ createdAt, ...endpoint }: EndpointView) => ({
  ...endpoint,
  createdAt: createdAt.toISOString(),
});

/** The log of deliveries, and one of them once more. */
function deliveryRoutes(app: FastifyInstance, webhooks: Webhooks): void {
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

function deliveryBody(delivery: DeliveryView) {
  const { transactionId, replayOf, nextAttemptAt, createdAt, ...rest } = delivery;
  return {
    ...rest,
    transactionId: transactionId ?? null,
    replayOf: replayOf ?? null,
    nextAttemptAt: nextAttemptAt?.toISOString() ?? null,
    createdAt: createdAt.toISOString(),
  };
}

function malformed(message: string): GatewayError {
  return new GatewayError('malformed_request', message);
}
