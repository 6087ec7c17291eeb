import { type Loop, startLoop } from '../lib/loop.ts';
import type { AnvilNode } from './anvil.ts';

const CHECK_EVERY_MS = 1_000;

export interface KeeperOptions {
  node: AnvilNode;
  /** Longest time that the chain stands still. */
  blockTimeMs: number;
  save: () => Promise<void>;
  log: (line: string) => void;
}

/**
 * Looks after a chain once a second. It is saved when it has moved. When it has stood still too long it gets
 * an empty block, because calls are answered with the newest block's time: on a chain that rests, a payment
 * signed now is not yet valid and an expired one never expires.
 */
export function keepChain({ node, blockTimeMs, save, log }: KeeperOptions): Loop {
  let newest: string | undefined;
  let movedAtMs = performance.now();

  async function round(): Promise<void> {
    const { hash } = await node.getBlock();
    if (hash !== newest) {
      await save();
      newest = hash;
      movedAtMs = performance.now();
    } else if (performance.now() - movedAtMs >= blockTimeMs && (await node.getAutomine())) {
      await node.mine({ blocks: 1 });
      movedAtMs = performance.now();
      const block = await node.getBlock();
      // Our own empty block is no reason to write the whole chain again.
      if (block.parentHash === newest && block.transactions.length === 0) newest = block.hash;
    }
  }

  return startLoop({
    intervalMs: CHECK_EVERY_MS,
    round,
    onError: () => log('the local chain does not answer or could not be saved'),
  });
}
