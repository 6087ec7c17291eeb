import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { EndpointOwner, Webhooks } from '../../webhooks/webhooks.ts';
import { senderOf } from './authentication.ts';
import { answer, CODE, Refusal } from './envelope.ts';
import { sendAnswer } from './errors.ts';
import { EVENTS } from './limits.ts';
import type { AitopupOptions } from './options.ts';
import { answers, describe, RegisterRequest, UpdateRequest } from './schemas.ts';
import { endpointBody, readObject } from './wire.ts';

/** The owner of the endpoints that a request may see: those of its key's customer and environment. */
export function ownerOf(request: FastifyRequest): EndpointOwner {
  const { customer, environment } = senderOf(request);
  return { kind: 'aitopup', environment, ...customer };
}

/** Registering, changing and forgetting webhooks. */
export function webhookRoutes(app: FastifyInstance, { webhooks, clock }: AitopupOptions): void {
  const done = (data: Record<string, unknown>) => answer(CODE.done, clock.nowMs(), { data });
  const notFound = { 404: 'No such webhook (3000)' };

  app.post(
    '/webhooks/register',
    {
      schema: describe('aitopupRegisterWebhook', 'Be told about top-ups', {
        description: 'The secret is shown this once. `verify` sends a signed test event first.',
        body: RegisterRequest,
        response: answers('Registered (1000)', { 502: 'The test event was not taken (5001)' }),
      }),
    },
    async (request, reply) => {
      const order = readRegistration(request.body);
      const result = await webhooks.register(ownerOf(request), order);
      if (result.kind === 'registered') {
        return sendAnswer(reply, done({ ...endpointBody(result.endpoint), secret: result.secret }));
      }
      if (result.kind === 'invalid_url') throw invalidUrl(result.message);
      if (result.kind === 'too_many') {
        throw new Refusal(CODE.malformed, 'there are 10 webhooks already', 'too_many_webhooks');
      }
      throw new Refusal(CODE.webhookFailed, 'the test event was not taken', 'verification_failed', {
        data: { http_status: result.httpStatus ?? null },
      });
    },
  );

  app.get(
    '/webhooks',
    {
      schema: describe('aitopupListWebhooks', 'Your webhooks', { response: answers('Webhooks (1000)', {}) }),
    },
    async (request, reply) => {
      const found = await webhooks.list(ownerOf(request));
      return sendAnswer(reply, done({ webhooks: found.map(endpointBody), count: found.length }));
    },
  );

  app.patch<{ Params: { id: string } }>(
    '/webhooks/:id',
    {
      schema: describe('aitopupUpdateWebhook', 'Change a webhook', {
        body: UpdateRequest,
        response: answers('Changed (1000)', notFound),
      }),
    },
    async (request, reply) => {
      const change = readChange(request.body);
      const result = await webhooks.update(ownerOf(request), request.params.id, change);
      if (result.kind === 'invalid_url') throw invalidUrl(result.message);
      if (result.kind === 'not_found') throw noSuchWebhook();
      return sendAnswer(reply, done(endpointBody(result.endpoint)));
    },
  );

  app.delete<{ Params: { id: string } }>(
    '/webhooks/:id',
    {
      schema: describe('aitopupDeleteWebhook', 'Forget a webhook', {
        response: answers('Deleted (1000)', notFound),
      }),
    },
    async (request, reply) => {
      const { id } = request.params;
      if (!(await webhooks.remove(ownerOf(request), id))) throw noSuchWebhook();
      return sendAnswer(reply, done({ id, deleted: true }));
    },
  );

  rotateRoute(app, webhooks, done);
}

function rotateRoute(
  app: FastifyInstance,
  webhooks: Webhooks,
  done: (data: Record<string, unknown>) => ReturnType<typeof answer>,
): void {
  app.post<{ Params: { id: string } }>(
    '/webhooks/:id/rotate-secret',
    {
      schema: describe('aitopupRotateSecret', 'A new secret for a webhook', {
        description: 'The old one goes on signing for 24 hours, as a second signature.',
        response: answers('The new secret (1000)', { 404: 'No such webhook (3000)' }),
      }),
    },
    async (request, reply) => {
      const rotated = await webhooks.rotateSecret(ownerOf(request), request.params.id);
      if (!rotated) throw noSuchWebhook();
      return sendAnswer(reply, done({ ...endpointBody(rotated.endpoint), secret: rotated.secret }));
    },
  );
}

function readRegistration(body: unknown) {
  const { url, events, verify } = readObject(body);
  if (typeof url !== 'string') throw invalidUrl('url must be a text');
  if (verify !== undefined && verify !== null && typeof verify !== 'boolean') {
    throw malformed('verify must be true or false', 'verify');
  }
  return { url, events: readEvents(events) ?? EVENTS, verify: verify === true };
}

function readChange(body: unknown) {
  const { url, events, active } = readObject(body);
  if (url !== undefined && typeof url !== 'string') throw invalidUrl('url must be a text');
  if (active !== undefined && typeof active !== 'boolean')
    throw malformed('active must be true or false', 'active');
  return { url, events: readEvents(events), active };
}

function readEvents(value: unknown): readonly string[] | undefined {
  if (value === undefined || value === null) return undefined;
  const events = Array.isArray(value) ? (value as unknown[]) : [];
  const known = EVENTS.filter(event => events.includes(event));
  if (events.length === 0 || known.length !== new Set(events).size) {
    throw malformed(`events must be a list of ${EVENTS.join(', ')}`, 'events');
  }
  return known;
}

export function invalidUrl(message: string): Refusal {
  return new Refusal(CODE.webhookUrl, message, 'invalid_webhook_url', { field: 'url' });
}

function noSuchWebhook(): Refusal {
  return new Refusal(CODE.notFound, 'there is no such webhook', 'not_found');
}

function malformed(message: string, field: string): Refusal {
  return new Refusal(CODE.malformed, message, 'malformed_request', { field });
}
