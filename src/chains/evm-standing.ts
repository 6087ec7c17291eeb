import type { Chain, Standing, TransferPlace } from '../ports/chain.ts';
import type { EvmClient } from '../ports/evm-client.ts';

const MAX_PARALLEL_READS = 20;

/** Tells whether credited transfers are where they were: one header for each block, however many it holds. */
export function createStanding(client: EvmClient): Chain['standing'] {
  return async function standing(places: readonly TransferPlace[]): Promise<Standing[]> {
    const safe = await client.safeBlock();
    const numbers = [...new Set(places.map(place => place.blockNumber))];
    const hashes = new Map<bigint, string | undefined>();
    for (let start = 0; start < numbers.length; start += MAX_PARALLEL_READS) {
      const part = numbers.slice(start, start + MAX_PARALLEL_READS);
      const found = await Promise.all(part.map(number => client.blockHash(number)));
      part.forEach((number, index) => hashes.set(number, found[index]));
    }
    return places.map(({ blockNumber, blockHash }) => {
      const now = hashes.get(blockNumber);
      if (now === undefined) return 'unknown';
      if (now !== blockHash) return 'moved';
      return blockNumber <= safe.number ? 'final' : 'standing';
    });
  };
}
