import type { ApiKeys } from '../../accounts/types.ts';
import type { Clock } from '../../lib/clock.ts';
import type { PaymentLookups } from '../../topups/payment-lookups.ts';
import type { PaymentOption, Topups } from '../../topups/types.ts';
import type { SentTopups } from '../../vouchers/types.ts';
import type { Webhooks } from '../../webhooks/webhooks.ts';
import type { CountCall } from './authentication.ts';

/** What the aitopup dialect needs of the rest of the gateway. */
export interface AitopupOptions {
  apiKeys: ApiKeys;
  sentTopups: SentTopups;
  webhooks: Webhooks;
  /** For filling the wallet of a key's owner. */
  topups: Topups;
  paymentLookups: PaymentLookups;
  paymentOptions: readonly PaymentOption[];
  /** Origin that clients reach us at, without a trailing slash. */
  publicOrigin: string;
  /** Smallest and largest top-up. */
  amountRange: { minCents: number; maxCents: number };
  /** Absent where calls are not limited, as for local use. */
  countCall: CountCall | undefined;
  clock: Clock;
}
