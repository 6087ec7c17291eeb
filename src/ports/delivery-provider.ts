import type { Environment } from './environment.ts';

/** A top-up as whoever delivers it sees it. */
export interface DeliveryOrder {
  /** The same for every attempt: what was delivered under it must not be delivered again. */
  transactionId: string;
  environment: Environment;
  platform: string;
  amountNanoUsd: bigint;
  /** Undefined: the owner of the key that paid. */
  recipientEmail: string | undefined;
  reference: string | undefined;
  metadata: Readonly<Record<string, string>>;
  /** Since it was accepted. */
  ageMs: number;
}

export type FailureReason = 'provider_error' | 'recipient_rejected' | 'timeout';

export type DeliveryOutcome =
  | { kind: 'delivered' }
  /** Not known yet; ask again after so long. */
  | { kind: 'pending'; retryAfterMs: number }
  /** It was not delivered and will not be: the money goes back. */
  | { kind: 'failed'; reason: FailureReason };

/** Brings a top-up to its recipient. Asked again with the same order until it knows what came of it. */
export interface DeliveryProvider {
  readonly name: string;
  /** Whether an order that was asked for may be under way outside, so that it cannot be taken back. */
  readonly isOutside: boolean;
  /** Has a deadline of its own and never throws for what the other side does. */
  deliver(order: DeliveryOrder): Promise<DeliveryOutcome>;
}
