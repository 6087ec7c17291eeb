import type { Environment } from '../ports/environment.ts';
import { publicId } from './ids.ts';

/** Every event that the gateway tells about, whichever dialect it comes from. */
export const EVENT_TYPES = [
  'payment.pending',
  'payment.credited',
  'payment.failed',
  'payment.reversed',
  'payment.unapplied',
  'topup.delivered',
  'topup.failed',
  'topup.cancelled',
  'balance.low',
  'hold.expired',
  'subscription.started',
  'subscription.renewed',
  'subscription.changed',
  'subscription.credited',
  'subscription.ended',
] as const;

export type EventType = (typeof EVENT_TYPES)[number];

/** An event as the outbox of a cell keeps it. */
export interface StoredEvent {
  eventId: string;
  accountId: bigint;
  environment: Environment;
  type: string;
  /** Of the top-up that it is about. */
  transactionId: string | null;
  /** What became of that; `ok` where there is none. */
  status: string;
  payload: Readonly<Record<string, unknown>>;
  createdAt: Date;
}

/** Time of an event or of an answer: UTC without fractional seconds. */
export function isoSeconds(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}

/**
 * A member of a payload that only the event's owner may read is stored as `{ "$sealed": text }`: a voucher's
 * code is money, and the log of events is read by more people than may have it.
 */
export interface SealedMember {
  $sealed: string;
}

function isSealed(value: unknown): value is SealedMember {
  return typeof value === 'object' && value !== null && '$sealed' in value;
}

/**
 * The exact body of every attempt to deliver an event: the same bytes each time, because a receiver may
 * compare them. `type`, `timestamp` and `data` are what Standard Webhooks asks for.
 * @param open reads a sealed member; absent where the receiver may not have it, which then reads null
 */
export function renderEvent(event: StoredEvent, open: ((sealed: string) => string) | undefined): string {
  const members = Object.entries(event.payload).map(([name, value]) => [
    name,
    isSealed(value) ? (open?.(value.$sealed) ?? null) : value,
  ]);
  return JSON.stringify({
    id: publicId('event', event.eventId),
    type: event.type,
    event: event.type,
    environment: event.environment === 'live' ? 'live' : 'staging',
    timestamp: isoSeconds(event.createdAt),
    transaction_id: event.transactionId,
    status: event.status,
    data: Object.fromEntries(members),
  });
}

/** What a sealed member of an event belongs to (see `lib/sealed.ts`). */
export function sealContext(environment: Environment, transactionId: string | null): string {
  return `voucher ${environment} ${transactionId ?? ''}`;
}
