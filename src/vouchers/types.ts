import type { Customer } from '../customers/customers.ts';
import type { FailureReason } from '../ports/delivery-provider.ts';
import type { Environment } from '../ports/environment.ts';

/** Whose wallet pays: the holder of a key, with what the key may spend. */
export interface TopupSender {
  keyId: string;
  customer: Customer;
  environment: Environment;
  /** In a calendar month, in nano-USD; no limit when absent. */
  spendingCapNanoUsd?: bigint | undefined;
}

export type TopupState = 'pending' | 'delivered' | 'failed' | 'cancelled';

/** A top-up that somebody's key sent. Amounts in nano-USD. */
export interface SentTopup {
  topupId: string;
  transactionId: string;
  environment: Environment;
  platform: string;
  amountNanoUsd: bigint;
  /** Undefined: the owner of the key. */
  recipientEmail: string | undefined;
  reference: string | undefined;
  metadata: Readonly<Record<string, string>>;
  state: TopupState;
  failureReason: FailureReason | undefined;
  /** Bearer money: for its owner's eyes. Present when delivered, like the recipient's balance after it. */
  voucherCode: string | undefined;
  newBalanceNanoUsd: bigint | undefined;
  createdAt: Date;
  updatedAt: Date;
}

export interface SendOrder {
  platform: string;
  amountNanoUsd: bigint;
  recipientEmail: string | undefined;
  reference: string | undefined;
  metadata: Readonly<Record<string, string>>;
}

/** The caller's name for a call, and what the call said. */
export interface Idempotency {
  key: string;
  requestHash: Buffer;
}

/** What a caller was answered, byte for byte. */
export interface StoredAnswer {
  status: number;
  body: string;
}

export type SendOutcome =
  /** Accepted by this call, delivered or pending. `walletNanoUsd` is the sender's available credit after it. */
  | { kind: 'accepted'; topup: SentTopup; walletNanoUsd: bigint }
  /** Accepted by an earlier call of the same name, which was answered so. */
  | { kind: 'answered'; answer: StoredAnswer }
  | { kind: 'in_progress' }
  /** The caller's name stands for another request. */
  | { kind: 'key_reused' }
  | { kind: 'duplicate_reference'; topup: SentTopup }
  | { kind: 'over_cap' }
  | { kind: 'insufficient' };

export type CancelOutcome =
  | { kind: 'cancelled'; topup: SentTopup; walletNanoUsd: bigint }
  /** Delivered, failed, or being delivered by somebody outside. */
  | { kind: 'too_late'; topup: SentTopup }
  | { kind: 'not_found' };

/** How a caller names one of its top-ups. */
export type TopupName = { transactionId: string } | { reference: string };

/** The wallet of a key's owner and what the key may spend of it. Amounts in nano-USD. */
export interface SenderWallet {
  availableNanoUsd: bigint;
  heldNanoUsd: bigint;
  /** Below it the owner is told; undefined when switched off. */
  alertBelowNanoUsd: bigint | undefined;
  key: {
    keyId: string;
    /** Undefined: the wallet alone is the limit. */
    capNanoUsd: bigint | undefined;
    spentNanoUsd: bigint;
    /** When the key may spend the whole cap again: the first of next month, UTC. */
    resetsAt: Date;
  };
}

/**
 * Top-ups for others out of a prepaid wallet. Everything is seen and changed through a key, and so in one
 * environment and of one owner. Every call throws GatewayError `unavailable` while the database is down.
 */
export interface SentTopups {
  send(sender: TopupSender, order: SendOrder, idempotency: Idempotency | undefined): Promise<SendOutcome>;
  /** Remembers what a call was answered for those that repeat it. The first answer stays. */
  rememberAnswer(sender: TopupSender, idempotencyKey: string, answer: StoredAnswer): Promise<void>;
  cancel(sender: TopupSender, name: TopupName): Promise<CancelOutcome>;
  find(sender: TopupSender, name: TopupName): Promise<SentTopup | undefined>;
  /** Newest first; at most 50. `before` is a transaction's id. */
  list(sender: TopupSender, page: { limit: number; before?: string | undefined }): Promise<SentTopup[]>;
  wallet(sender: TopupSender): Promise<SenderWallet>;
  /** Undefined switches the alert off. */
  setAlert(sender: TopupSender, belowNanoUsd: bigint | undefined): Promise<void>;
}
