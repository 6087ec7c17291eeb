import type { Pool } from 'pg';
import type { CellName } from '../db/queryable.ts';
import type { Clock } from '../lib/clock.ts';
import { type Loop, startLoop } from '../lib/loop.ts';
import type { Sealer } from '../lib/sealed.ts';
import type { Log } from '../ports/log.ts';
import type { Outbound, OutboundResult } from '../ports/outbound.ts';
import type { At } from './at.ts';
import { ATTEMPT_TIMEOUT_MS, attemptDelivery } from './attempt.ts';
import {
  type Attempt,
  type AttemptResult,
  type ClaimedDelivery,
  claimDeliveries,
  dropPending,
} from './deliveries.ts';
import { deactivateEndpoint, readSigningEndpoints, type SigningEndpoint } from './endpoints.ts';
import { isoSeconds, renderEvent, sealContext } from './events.ts';
import { fanOut } from './fan-out.ts';
import { deleteOldEvents } from './outbox.ts';
import { createResultWriter } from './result-writer.ts';
import { type RetrySchedules, waitBefore } from './schedule.ts';
import { secretContext } from './secrets.ts';
import { createSlots } from './slots.ts';

export interface DispatcherDeps {
  pool: Pool;
  cells: readonly CellName[];
  outbound: Outbound;
  sealer: Sealer;
  schedules: RetrySchedules;
  clock: Clock;
  log: Log;
  /** Moves the database's clock in tests; due times are the database's otherwise. */
  at?: () => At;
}

/** `internal`: the attempt failed before anybody was called, for instance because the secret cannot be opened. */
type AttemptOutcome = OutboundResult | { kind: 'failed'; error: 'internal' };

/** Longer than an attempt can take with its storing; a process that died had its deliveries for so long. */
const LEASE_MS = ATTEMPT_TIMEOUT_MS + 20_000;
/** Between two looks while deliveries are under way, and while there is nothing to do. */
const BUSY_PAUSE_MS = 20;
const IDLE_PAUSE_MS = 150;
const GONE = 410;
const KEEP_DAYS = 30;
const FORGET_BATCH = 1_000;
const MAX_FORGET_BATCHES = 1_000;

/**
 * Hands events to their receivers. Any number of replicas share the work over rows that they lock; what one
 * of them had under way when it died is attempted again when its lease ends. Duplicates are possible, losses
 * are not.
 */
export function createDispatcher(deps: DispatcherDeps) {
  const { pool, log, clock, at = () => ({}) } = deps;
  const slots = createSlots();
  const underWay = new Set<Promise<void>>();
  let loops: Loop[] = [];

  function createCellDispatcher(cell: CellName) {
    const writer = createResultWriter({ db: pool, cell, log, at });

    async function attempt(delivery: ClaimedDelivery, endpoint: SigningEndpoint): Promise<OutboundResult> {
      const { event } = delivery;
      const secrets = [endpoint.secret, endpoint.previousSecret]
        .filter(secret => secret !== undefined)
        .map(secret => deps.sealer.open(secret, secretContext(endpoint.endpointId)));
      const context = sealContext(event.environment, event.transactionId);
      const open = (sealed: string) => deps.sealer.open(sealed, context);
      return attemptDelivery(deps.outbound, {
        ...endpoint,
        secrets,
        eventId: event.eventId,
        eventType: event.type,
        deliveryId: delivery.deliveryId,
        attempt: delivery.attempts + 1,
        body: renderEvent(event, endpoint.kind === 'operator' ? undefined : open),
        nowMs: clock.nowMs(),
      });
    }

    /** @returns what came of it; an attempt that we could not make has failed, and is counted as any other */
    async function tryAttempt(delivery: ClaimedDelivery, endpoint: SigningEndpoint): Promise<AttemptOutcome> {
      try {
        return await attempt(delivery, endpoint);
      } catch (error) {
        log.error({ deliveryId: delivery.deliveryId, err: error }, 'a webhook could not be attempted');
        return { kind: 'failed', error: 'internal' };
      }
    }

    async function deliver(delivery: ClaimedDelivery, endpoint: SigningEndpoint | undefined): Promise<void> {
      const { deliveryId, endpointId } = delivery;
      const endAttempt = slots.start(delivery);
      let heldMs = 0;
      try {
        if (!endpoint?.active) {
          await writer.write({ deliveryId, state: 'failed', attempt: undefined, waitMs: 0 });
          return;
        }
        const startedAtMs = clock.nowMs();
        const started = performance.now();
        const outcome = await tryAttempt(delivery, endpoint);
        heldMs = performance.now() - started;
        const made = describeAttempt(delivery, outcome, startedAtMs, heldMs);
        await writer.write(judge(deliveryId, made, deps.schedules[endpoint.kind]));
        if (made.http_status === GONE) await closeEndpoint(endpointId);
      } catch (error) {
        // The delivery has its result. The next one to this endpoint is told the same and closes it.
        log.error({ endpointId, err: error }, 'a webhook that is gone could not be closed');
      } finally {
        endAttempt(heldMs);
      }
    }

    /** Claims what is due and starts it. */
    async function startDue(): Promise<void> {
      const allowance = slots.allowance();
      if (allowance.total === 0) return;
      const claimed = await claimDeliveries(pool, cell, { allowance, leaseMs: LEASE_MS, ...at() });
      if (claimed.length === 0) return;
      const endpoints = await readSigningEndpoints(
        pool,
        claimed.map(each => each.endpointId),
        at(),
      );
      for (const delivery of claimed) {
        const work = deliver(delivery, endpoints.get(delivery.endpointId));
        underWay.add(work);
        void work.finally(() => underWay.delete(work));
      }
    }

    return { startDue, fanOut: () => fanOut(pool, cell, deps.schedules, at()) };
  }

  /** A receiver that says it is gone is not asked again, not even about what waits for it. */
  async function closeEndpoint(endpointId: string): Promise<void> {
    await deactivateEndpoint(pool, endpointId);
    for (const cell of deps.cells) await dropPending(pool, cell, endpointId);
  }

  const dispatchers = deps.cells.map(createCellDispatcher);

  return {
    start(): void {
      loops = dispatchers.map(dispatcher =>
        startLoop({
          // While somebody waits for a slot the next look comes soon; an idle gateway asks seldom.
          intervalMs: () => (underWay.size > 0 ? BUSY_PAUSE_MS : IDLE_PAUSE_MS),
          round: async () => {
            await dispatcher.fanOut();
            await dispatcher.startDue();
          },
          onError: error => log.error({ err: error }, 'webhooks could not be dispatched'),
        }),
      );
    },
    /** Stops claiming and waits for the attempts under way. */
    async stop(): Promise<void> {
      for (const loop of loops) await loop.stop();
      await Promise.all(underWay);
    },
    /** Deletes events and deliveries that are older than the log reaches back. */
    async forgetOldEvents(): Promise<void> {
      for (const cell of deps.cells) {
        for (let batch = 0; batch < MAX_FORGET_BATCHES; batch += 1) {
          const deleted = await deleteOldEvents(pool, cell, { days: KEEP_DAYS, limit: FORGET_BATCH });
          if (deleted < FORGET_BATCH) break;
        }
      }
    },
  };
}

function describeAttempt(
  delivery: ClaimedDelivery,
  outcome: AttemptOutcome,
  startedAtMs: number,
  durationMs: number,
): Attempt {
  return {
    n: delivery.attempts + 1,
    at: isoSeconds(new Date(startedAtMs)),
    http_status: outcome.kind === 'answered' ? outcome.status : null,
    duration_ms: Math.round(durationMs),
    error: outcome.kind === 'failed' ? outcome.error : null,
  };
}

/** Any 2xx is success; everything else comes back until the schedule ends. */
function judge(deliveryId: string, attempt: Attempt, schedule: readonly number[]): AttemptResult {
  const status = attempt.http_status ?? 0;
  if (status >= 200 && status < 300) return { deliveryId, state: 'succeeded', attempt, waitMs: 0 };
  const waitMs = status === GONE ? undefined : waitBefore(attempt.n + 1, schedule);
  if (waitMs === undefined) return { deliveryId, state: 'failed', attempt, waitMs: 0 };
  return { deliveryId, state: 'pending', attempt, waitMs };
}
