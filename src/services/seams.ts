import type { Chain } from '../ports/chain.ts';
import type { EvmClient } from '../ports/evm-client.ts';
import type { Facilitator } from '../ports/facilitator.ts';

/** Where a fault can be put around a real part; production passes none. */
export interface Seams {
  evmClient?: (client: EvmClient) => EvmClient;
  facilitator?: (facilitator: Facilitator) => Facilitator;
  chain?: (chain: Chain) => Chain;
  settleWaitMs?: number;
  reconcileEveryMs?: number;
  maintainSenderEveryMs?: number;
}
