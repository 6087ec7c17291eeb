import type { Accounts, SignIn } from '../../accounts/types.ts';
import type { Clock } from '../../lib/clock.ts';
import type { PaymentOption, Topups } from '../../topups/types.ts';

/** What the Venice dialect needs of the rest of the gateway. */
export interface VeniceOptions {
  topups: Topups;
  accounts: Accounts;
  signIn: SignIn;
  /** In order of preference. The published client takes the first entry when it does not find Base USDC. */
  paymentOptions: readonly PaymentOption[];
  /** Origin that clients reach us at, without a trailing slash. */
  publicOrigin: string;
  /** The limits of the contract; off for local use. */
  rateLimits: boolean;
  clock: Clock;
}
