import type { Clock } from '../../lib/clock.ts';
import type { MppRail } from '../../protocols/mpp.ts';
import type { Agents } from '../../subscriptions/agents.ts';
import type { ApiTokens } from '../../subscriptions/api-tokens.ts';
import type { PaymentOption, Topups } from '../../topups/types.ts';

/** What the Mobula dialect needs of the rest of the gateway. */
export interface MobulaOptions {
  agents: Agents;
  apiTokens: ApiTokens;
  topups: Topups;
  /** All of one environment: a wallet is one agent, whichever of them it pays by. */
  paymentOptions: readonly PaymentOption[];
  /** Absent where no Tempo network is configured: then there are no such routes. */
  mpp: MppRail | undefined;
  /** Origin that clients reach us at, without a trailing slash. */
  publicOrigin: string;
  /** Whether calls are limited; off for local use. */
  rateLimits: boolean;
  clock: Clock;
}
