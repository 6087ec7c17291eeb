import type { FastifyInstance } from 'fastify';
import { isStorableText } from '../../lib/storable-text.ts';
import type { DeliveryState } from '../../webhooks/webhooks.ts';
import { answer, CODE, Refusal } from './envelope.ts';
import { sendAnswer } from './errors.ts';
import { DEFAULT_DELIVERIES, MAX_DELIVERIES } from './limits.ts';
import { readPageSize } from './operations.ts';
import type { AitopupOptions } from './options.ts';
import { answers, describe } from './schemas.ts';
import { invalidUrl, ownerOf } from './webhook-routes.ts';
import { deliveryBody } from './wire.ts';

const STATES: readonly DeliveryState[] = ['pending', 'succeeded', 'failed'];

/** The log of deliveries, and one of them once more. */
export function deliveryRoutes(app: FastifyInstance, { webhooks, clock }: AitopupOptions): void {
  const done = (data: Record<string, unknown>) => answer(CODE.done, clock.nowMs(), { data });
  const notFound = { 404: 'No such delivery (3000)' };

  app.get<{ Querystring: Record<string, unknown> }>(
    '/webhooks/deliveries',
    {
      schema: describe('aitopupListDeliveries', 'What was delivered to your webhooks', {
        description:
          'Newest first. `webhook_id`, `event`, `state` and `transaction_id` narrow it; `limit` and `before` page on.',
        response: answers('Deliveries (1000)', {}),
      }),
    },
    async (request, reply) => {
      const page = await webhooks.deliveries(ownerOf(request), readFilter(request.query));
      const data = { deliveries: page.deliveries.map(deliveryBody), has_more: page.hasMore };
      return sendAnswer(reply, done(data));
    },
  );

  app.get<{ Params: { delivery_id: string } }>(
    '/webhooks/deliveries/:delivery_id',
    {
      schema: describe('aitopupGetDelivery', 'One delivery with its attempts', {
        response: answers('The delivery (1000)', notFound),
      }),
    },
    async (request, reply) => {
      const found = await webhooks.delivery(ownerOf(request), request.params.delivery_id);
      if (!found) throw noSuchDelivery();
      return sendAnswer(reply, done({ delivery: deliveryBody(found) }));
    },
  );

  app.post<{ Params: { delivery_id: string } }>(
    '/webhooks/deliveries/:delivery_id/replay',
    {
      schema: describe('aitopupReplayDelivery', 'Deliver the same event once more', {
        response: answers('Queued as a new delivery (1000)', { ...notFound, 409: 'Still under way (2006)' }),
      }),
    },
    async (request, reply) => {
      const result = await webhooks.replay(ownerOf(request), request.params.delivery_id);
      if (result.kind === 'replayed')
        return sendAnswer(reply, done({ delivery: deliveryBody(result.delivery) }));
      if (result.kind === 'invalid_url') throw invalidUrl(result.message);
      if (result.kind === 'not_found') throw noSuchDelivery();
      throw new Refusal(CODE.duplicate, 'the delivery is still under way', 'in_progress');
    },
  );
}

function readFilter(query: Record<string, unknown>) {
  const text = (name: string) => {
    const value = query[name];
    if (typeof value === 'string' && !isStorableText(value)) {
      throw new Refusal(CODE.malformed, `${name} is not a text`, 'malformed_request', { field: name });
    }
    return typeof value === 'string' ? value : undefined;
  };
  const state = text('state');
  if (state !== undefined && !(STATES as readonly string[]).includes(state)) {
    throw new Refusal(CODE.malformed, `state must be one of ${STATES.join(', ')}`, 'malformed_request', {
      field: 'state',
    });
  }
  return {
    webhookId: text('webhook_id'),
    event: text('event'),
    state: state as DeliveryState | undefined,
    transactionId: text('transaction_id'),
    before: text('before'),
    limit: readPageSize(query['limit'], DEFAULT_DELIVERIES, MAX_DELIVERIES),
  };
}

function noSuchDelivery(): Refusal {
  return new Refusal(CODE.notFound, 'there is no such delivery', 'not_found');
}
