import type { Channels } from '../../accounts/channels.ts';
import type { ApiKeys, CustomerCredit } from '../../accounts/types.ts';
import type { WalletKeys } from '../../accounts/wallet-keys.ts';
import type { Clock } from '../../lib/clock.ts';
import type { PaymentLookups } from '../../topups/payment-lookups.ts';
import type { PaymentOption, Topups } from '../../topups/types.ts';

/** What the Dria dialect needs of the rest of the gateway. */
export interface DriaOptions {
  apiKeys: ApiKeys;
  walletKeys: WalletKeys;
  credit: CustomerCredit;
  channels: Channels;
  topups: Topups;
  paymentLookups: PaymentLookups;
  /** A key is offered the first one of its environment. */
  paymentOptions: readonly PaymentOption[];
  /** Origin that clients reach us at, without a trailing slash. */
  publicOrigin: string;
  /** Whether calls are limited; off for local use. */
  rateLimits: boolean;
  clock: Clock;
}
