import type { EvmClient } from './evm-client.ts';

/** One Tempo node. */
export interface TempoClient extends EvmClient {
  /** Who has sent a transaction that is in a block, in lower case; undefined while it is in none. */
  sender(hash: string): Promise<string | undefined>;
}
