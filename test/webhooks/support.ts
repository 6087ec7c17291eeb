import { expect, vi } from 'vitest';
import { createCustomer } from '../../src/customers/customers.ts';
import { DEFAULT_CELL } from '../../src/db/queryable.ts';
import type { Environment } from '../../src/ports/environment.ts';
import type { EventType } from '../../src/webhooks/events.ts';
import { addEvent } from '../../src/webhooks/outbox.ts';
import type { EndpointOwner } from '../../src/webhooks/webhooks.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { type Arrival, type Receiver, startReceiver } from '../support/receiver.ts';
import { startVerifiers } from '../support/webhook-verifiers.ts';

/** A clock that a test moves; it runs with the real one in between. */
export function movableClock() {
  let aheadMs = 0;
  return {
    nowMs: () => Date.now() + aheadMs,
    forward(ms: number) {
      aheadMs += ms;
    },
  };
}

export type Owner = Awaited<ReturnType<typeof createOwner>>;

/** A new customer as the owner of endpoints. */
export async function createOwner(gateway: TestGateway, environment: Environment = 'live') {
  const customer = await createCustomer(gateway.sql, environment);
  return { kind: 'aitopup', environment, ...customer } satisfies EndpointOwner;
}

/** @returns the public id and the secret */
export async function register(
  gateway: TestGateway,
  owner: EndpointOwner,
  url: string,
  events: EventType[] = ['balance.low'],
) {
  const result = await gateway.services.webhooks.register(owner, { url, events, verify: false });
  if (result.kind !== 'registered') throw new Error(result.kind);
  return { id: result.endpoint.id, secret: result.secret };
}

export async function emit(
  gateway: TestGateway,
  { accountId, environment }: Pick<Owner, 'accountId' | 'environment'>,
  type: EventType = 'balance.low',
  payload: Record<string, unknown> = { balance_cents: 900 },
): Promise<void> {
  await addEvent(gateway.sql, DEFAULT_CELL, { accountId, environment, type, payload });
}

export const arrived = (receiver: Receiver, count: number) =>
  vi.waitFor(() => expect(receiver.arrivals).toHaveLength(count), { timeout: 10_000, interval: 10 });

/** The deliveries of an owner, newest first, once so many have ended. */
export async function finalDeliveries(gateway: TestGateway, owner: EndpointOwner, count = 1) {
  return vi.waitFor(
    async () => {
      const page = await gateway.services.webhooks.deliveries(owner, { limit: 100 });
      expect(page.deliveries.filter(each => each.state !== 'pending')).toHaveLength(count);
      return page.deliveries;
    },
    { timeout: 10_000, interval: 20 },
  );
}

/**
 * A gateway whose webhooks follow a clock of the test: their due times, their signatures, and what the published
 * libraries take for now when they verify one.
 */
export async function startWebhookWorld(settings: Record<string, string> = {}) {
  const clock = movableClock();
  const verifiers = startVerifiers(clock.nowMs);
  const gateway = await startGateway({
    settings,
    clock,
    seams: { allowLoopbackWebhooks: true, webhookNow: () => new Date(clock.nowMs()) },
  });
  const receivers: Receiver[] = [];

  return {
    gateway,
    clock,
    verifiers,

    /** @param answers of the first requests; the last one stays */
    async receive(...answers: (number | 'hang')[]): Promise<Receiver> {
      const receiver = await startReceiver();
      if (answers.length > 0) receiver.answers = answers;
      receivers.push(receiver);
      return receiver;
    },

    async closeReceivers(): Promise<void> {
      for (const receiver of receivers.splice(0)) await receiver.close();
    },

    /** Both libraries read the same event from it, and nothing else. */
    async expectVerified(arrival: Arrival | undefined, secret: string): Promise<void> {
      if (!arrival) throw new Error('nothing arrived');
      const { id } = JSON.parse(arrival.body) as { id: string };
      expect(await verifiers.verify(arrival, secret)).toEqual({ stripe: id, standard: id });
    },

    async expectRefused(arrival: Arrival, secret: string): Promise<void> {
      const refusal = { error: expect.any(String) };
      expect(await verifiers.verify(arrival, secret)).toEqual({ stripe: refusal, standard: refusal });
    },

    /**
     * Waits until the newest delivery rests before its next attempt, then goes to that time.
     * @param made attempts that it must have by then
     * @returns the rest of the pause, in milliseconds
     */
    async passPause(owner: EndpointOwner, made: number): Promise<number> {
      const waitMs = await vi.waitFor(
        async () => {
          const [newest] = (await gateway.services.webhooks.deliveries(owner, { limit: 1 })).deliveries;
          expect(newest?.attempts).toHaveLength(made);
          expect(newest?.nextAttemptAt).toBeDefined();
          return (newest?.nextAttemptAt?.getTime() ?? 0) - clock.nowMs();
        },
        { timeout: 10_000, interval: 5 },
      );
      // Never back: what is due already has its time, and the past has other secrets and leases.
      clock.forward(Math.max(0, waitMs));
      return waitMs;
    },

    async stop(): Promise<void> {
      verifiers.stop();
      await gateway.stop();
    },
  };
}

export type WebhookWorld = Awaited<ReturnType<typeof startWebhookWorld>>;
