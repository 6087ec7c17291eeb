import { consumeNonces, type UsedProof } from '../customers/proof-nonces.ts';
import type { Queryable } from '../db/queryable.ts';

export interface NonceBatcher {
  /** Uses a nonce up. @returns false when this wallet used it before. */
  consume(proof: UsedProof): Promise<boolean>;
}

interface Waiting {
  proof: UsedProof;
  resolve: (isFresh: boolean) => void;
  reject: (error: unknown) => void;
}

/** While as many statements are under way, what arrives waits for the next one and shares it. */
const MAX_STATEMENTS = 2;
const MAX_BATCH = 500;

/**
 * Uses up in one statement what arrives together. A caller alone waits for nobody; under load a statement and its
 * commit, most of what a sign-in costs, are shared by all that came while the one before was written.
 */
export function createNonceBatcher(db: Queryable): NonceBatcher {
  const waiting: Waiting[] = [];
  let running = 0;

  async function write(batch: readonly Waiting[]): Promise<void> {
    try {
      const fresh = await consumeNonces(
        db,
        batch.map(({ proof }) => proof),
      );
      for (const [index, { resolve }] of batch.entries()) resolve(fresh[index] === true);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }

  async function run(): Promise<void> {
    running += 1;
    while (waiting.length > 0) await write(waiting.splice(0, MAX_BATCH));
    running -= 1;
  }

  return {
    consume(proof) {
      return new Promise((resolve, reject) => {
        waiting.push({ proof, resolve, reject });
        if (running < MAX_STATEMENTS) void run();
      });
    },
  };
}
