import type { Clock } from '../lib/clock.ts';
import { unavailable } from '../lib/errors.ts';
import type { EvmClient } from '../ports/evm-client.ts';

/** How long a gas price is believed. */
const MAX_AGE_MS = 5_000;

/**
 * Reads the node's gas price in wei, and remembers it for a few seconds. A price of zero would sign what no
 * block takes and a wild one could spend the whole balance: both are `unavailable`, and nothing is signed.
 */
export function createGasPrice(client: EvmClient, clock: Clock, maxWei: bigint): () => Promise<bigint> {
  let known = { wei: 0n, readAtMs: Number.NEGATIVE_INFINITY };
  return async () => {
    if (clock.nowMs() - known.readAtMs <= MAX_AGE_MS) return known.wei;
    const wei = await client.gasPrice();
    if (wei <= 0n || wei > maxWei) throw unavailable(`a credible gas price of ${client.network}`);
    known = { wei, readAtMs: clock.nowMs() };
    return wei;
  };
}
