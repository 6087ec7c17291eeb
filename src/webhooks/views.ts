import type { Environment } from '../ports/environment.ts';
import type { Attempt } from './deliveries.ts';
import type { Delivery, DeliveryState } from './delivery-log.ts';
import type { Endpoint } from './endpoints.ts';
import { publicId } from './ids.ts';

/** An endpoint as its owner sees it: with the public id, and never with a secret. */
export interface EndpointView {
  id: string;
  url: string;
  events: string[];
  environment: Environment;
  active: boolean;
  createdAt: Date;
}

/** A delivery as the endpoint's owner sees it. */
export interface DeliveryView {
  id: string;
  eventId: string;
  event: string;
  webhookId: string;
  transactionId: string | undefined;
  state: DeliveryState;
  replayOf: string | undefined;
  nextAttemptAt: Date | undefined;
  createdAt: Date;
  attempts: Attempt[];
}

export function viewEndpoint(endpoint: Endpoint): EndpointView {
  return {
    id: publicId('endpoint', endpoint.endpointId),
    url: endpoint.url,
    events: [...endpoint.events],
    environment: endpoint.environment,
    active: endpoint.active,
    createdAt: endpoint.createdAt,
  };
}

export function viewDelivery(delivery: Delivery): DeliveryView {
  const { replayOf } = delivery;
  return {
    id: publicId('delivery', delivery.deliveryId),
    eventId: publicId('event', delivery.eventId),
    event: delivery.event,
    webhookId: publicId('endpoint', delivery.endpointId),
    transactionId: delivery.transactionId,
    state: delivery.state,
    replayOf: replayOf === undefined ? undefined : publicId('delivery', replayOf),
    nextAttemptAt: delivery.nextAttemptAt,
    createdAt: delivery.createdAt,
    attempts: [...delivery.attempts],
  };
}
