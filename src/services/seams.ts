import type { SvmNetwork } from '../chains/svm-networks.ts';
import type { Chain } from '../ports/chain.ts';
import type { EvmClient } from '../ports/evm-client.ts';
import type { Facilitator } from '../ports/facilitator.ts';
import type { Outbound } from '../ports/outbound.ts';
import type { SvmClient } from '../ports/svm-client.ts';

/** Where a fault can be put around a real part; production passes none. */
export interface Seams {
  evmClient?: (client: EvmClient) => EvmClient;
  svmClient?: (client: SvmClient) => SvmClient;
  /** Another mint than the one of the network's row. */
  svmNetwork?: (network: SvmNetwork) => SvmNetwork;
  facilitator?: (facilitator: Facilitator) => Facilitator;
  chain?: (chain: Chain) => Chain;
  outbound?: (outbound: Outbound) => Outbound;
  /** Lets webhooks lead to this machine, as in development. */
  allowLoopbackWebhooks?: boolean;
  /** Moves the clock of the webhooks' due times. */
  webhookNow?: () => Date;
  settleWaitMs?: number;
  /** Longest time of a settle call to a remote facilitator. */
  settleTimeoutMs?: number;
  /** Longest time of the other calls to it. */
  facilitatorAskTimeoutMs?: number;
  /** How long a facilitator's word is believed while the chain shows nothing. */
  doubtAfterMs?: number;
  reconcileEveryMs?: number;
  maintainSenderEveryMs?: number;
  finalityCheckMs?: number;
  reorgGraceMs?: number;
}
