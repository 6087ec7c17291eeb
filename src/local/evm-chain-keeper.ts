import { type Loop, startLoop } from '../lib/loop.ts';
import type { AnvilNode } from './anvil.ts';

const MAX_CHECK_MS = 1_000;

export interface KeeperOptions {
  node: AnvilNode;
  /** How long the chain may stand still before it gets a block. */
  blockTimeMs: number;
  save: () => Promise<void>;
  log: (line: string) => void;
}

/**
 * Looks after a chain, once a second or more often. It is saved when it has moved. When it has stood still too long it
 * gets an empty block, because calls are answered with the newest block's time: on a chain that rests, a payment
 * signed now is not yet valid and an expired one never expires. Saving takes as long as it takes, and time goes on.
 */
export function keepChain({ node, blockTimeMs, save, log }: KeeperOptions): Loop {
  let newest: string | undefined;
  let movedAtMs = performance.now();
  let isSaved = true;
  let saving: Promise<void> | undefined;
  const onError = () => log('the local chain does not answer or could not be saved');

  async function round(): Promise<void> {
    const { hash } = await node.getBlock();
    if (hash !== newest) {
      newest = hash;
      movedAtMs = performance.now();
      isSaved = false;
    } else if (performance.now() - movedAtMs >= blockTimeMs && (await node.getAutomine())) {
      await node.mine({ blocks: 1 });
      movedAtMs = performance.now();
      const block = await node.getBlock();
      // Our own empty block is no reason to write the whole chain again.
      if (block.parentHash === newest && block.transactions.length === 0) newest = block.hash;
    }
    if (!isSaved) saving ??= saveNow();
  }

  async function saveNow(): Promise<void> {
    isSaved = true;
    try {
      await save();
    } catch {
      isSaved = false;
      onError();
    } finally {
      saving = undefined;
    }
  }

  const loop = startLoop({ intervalMs: Math.min(MAX_CHECK_MS, blockTimeMs / 4), round, onError });
  return {
    async stop() {
      await loop.stop();
      await saving;
    },
  };
}
