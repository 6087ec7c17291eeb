import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { GatewayError } from '../lib/errors.ts';
import type { Webhooks } from '../webhooks/webhooks.ts';
import { webhookDeliveryRoutes } from './webhook-deliveries.ts';
import {
  ById,
  common,
  Environments,
  malformed,
  OfEnvironment,
  ownerOf,
  Refusal,
  Webhook,
  WebhookWithSecret,
  webhookBody,
} from './webhook-wire.ts';

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

const Change = Type.Object(
  {
    url: Type.Optional(NewWebhook.properties.url),
    events: NewWebhook.properties.events,
    active: Type.Optional(Type.Boolean({ description: 'whether it is told anything at all' })),
  },
  { additionalProperties: false },
);

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
      refuseUnknownEvents(webhooks, events);
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
      if (!(await webhooks.remove(ownerOf(request.query.environment), id))) throw noSuchWebhook();
      return { id, deleted: true as const };
    },
  );

  changeRoutes(app, webhooks);
  webhookDeliveryRoutes(app, webhooks);
}

/** What an endpoint is told and where, and what signs it. */
function changeRoutes(app: FastifyInstance, webhooks: Webhooks): void {
  app.patch<{
    Params: Static<typeof ById>;
    Querystring: Static<typeof OfEnvironment>;
    Body: Static<typeof Change>;
  }>(
    '/webhooks/:id',
    {
      schema: {
        ...common,
        operationId: 'updateWebhook',
        summary: 'Change a webhook',
        description:
          '`active: true` brings back one that said 410; what waited for it then has failed, and can be replayed.',
        params: ById,
        querystring: OfEnvironment,
        body: Change,
        response: { 200: Webhook, 400: Refusal, 401: Refusal, 404: Refusal },
      },
    },
    async request => {
      refuseUnknownEvents(webhooks, request.body.events ?? []);
      const owner = ownerOf(request.query.environment);
      const result = await webhooks.update(owner, request.params.id, request.body);
      if (result.kind === 'updated') return webhookBody(result.endpoint);
      if (result.kind === 'invalid_url') throw malformed(result.message);
      throw noSuchWebhook();
    },
  );

  app.post<{ Params: Static<typeof ById>; Querystring: Static<typeof OfEnvironment> }>(
    '/webhooks/:id/rotate-secret',
    {
      schema: {
        ...common,
        operationId: 'rotateWebhookSecret',
        summary: 'A new secret for a webhook',
        description: 'The old one goes on signing for 24 hours, as a second signature.',
        params: ById,
        querystring: OfEnvironment,
        response: { 200: WebhookWithSecret, 401: Refusal, 404: Refusal },
      },
    },
    async request => {
      const rotated = await webhooks.rotateSecret(ownerOf(request.query.environment), request.params.id);
      if (!rotated) throw noSuchWebhook();
      return { ...webhookBody(rotated.endpoint), secret: rotated.secret };
    },
  );
}

function refuseUnknownEvents(webhooks: Webhooks, events: readonly string[]): void {
  const unknown = events.find(event => !webhooks.eventTypes.includes(event));
  if (unknown !== undefined) throw malformed(`there is no event ${unknown}`);
}

function noSuchWebhook(): GatewayError {
  return new GatewayError('not_found', 'there is no webhook with this id');
}
