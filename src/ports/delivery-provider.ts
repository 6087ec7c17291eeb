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
  /** With what the recipient has then, in nano-USD, where whoever delivered it says so. */
  | { kind: 'delivered'; newBalanceNanoUsd?: bigint }
  /** Not known yet; ask again after so long. */
  | { kind: 'pending'; retryAfterMs: number }
  /** It was not delivered and will not be: the money goes back. */
  | { kind: 'failed'; reason: FailureReason };

/** Brings a top-up to its recipient. Asked again with the same order until it knows what came of it. */
export interface DeliveryProvider {
  readonly name: string;
  /**
   * Whether somebody outside gives the recipient what was paid for. An order may then be under way and cannot be
   * taken back, and its code is a receipt: whoever redeemed it would have the value twice.
   */
  readonly isOutside: boolean;
  /** Has a deadline of its own and never throws for what the other side does. */
  deliver(order: DeliveryOrder): Promise<DeliveryOutcome>;
}
