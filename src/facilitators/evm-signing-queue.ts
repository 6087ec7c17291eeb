import { withDeadline } from '../lib/deadline.ts';
import type { SenderKey, SenderStore, SignedTransaction } from '../ports/sender-store.ts';

/** What is to be signed for one payment. */
export interface SigningRequest {
  paymentId: string;
  sign(nonce: bigint): SignedTransaction;
}

/** Gives nonces to payments in the order in which they ask. */
export interface SigningQueue {
  /**
   * Signs with the next nonce and stores the bytes; a payment that has live bytes gets those.
   * @param firstNonce used when this process has not signed anything yet
   */
  sign(request: SigningRequest, firstNonce: bigint): Promise<SignedTransaction>;
  /** Undefined: not known to this process. */
  nextNonce(): bigint | undefined;
  forget(): void;
}

/** What may be signed and stored at once; a group that takes longer than the deadline must not stop the next. */
const MAX_GROUP = 64;
const GROUP_TIMEOUT_MS = 10_000;

interface Waiting extends SigningRequest {
  firstNonce: bigint;
  resolve(signed: SignedTransaction): void;
  reject(error: unknown): void;
}

/**
 * Nonces are consecutive, so one process signs and stores in turn. What has come while the last group was being
 * stored is one group: it costs one round trip and one commit however many payments it holds.
 */
export function createSigningQueue(store: SenderStore, key: SenderKey): SigningQueue {
  let next: bigint | undefined;
  let waiting: Waiting[] = [];
  let running = false;

  async function run(): Promise<void> {
    running = true;
    while (waiting.length > 0) {
      const group = waiting.slice(0, MAX_GROUP);
      waiting = waiting.slice(MAX_GROUP);
      try {
        const signed = await withDeadline('signing', GROUP_TIMEOUT_MS, signGroup(group));
        for (const [index, request] of group.entries()) request.resolve(signed[index] as SignedTransaction);
      } catch (error) {
        // Whether the bytes were stored is unknown when the database dies here.
        next = undefined;
        for (const request of group) request.reject(error);
      }
    }
    running = false;
  }

  async function signGroup(group: readonly Waiting[]): Promise<SignedTransaction[]> {
    const first = next ?? group[0]?.firstNonce ?? 0n;
    const guesses = group.map(({ paymentId, sign }, index) => ({
      paymentId,
      signed: sign(first + BigInt(index)),
    }));
    const outcomes = await store.store(key, guesses);
    const results = guesses.map(({ signed }, index) => {
      const outcome = outcomes[index];
      if (outcome?.kind === 'stored') return remember(signed);
      return outcome?.kind === 'existing' ? outcome.transaction : undefined;
    });
    const stale = group.filter((_, index) => results[index] === undefined);
    if (stale.length === 0) return results as SignedTransaction[];
    // Another replica took the nonces, and guessing again could lose for ever: the lock makes it our turn.
    const again = (await store.storeLocked(key, stale)).values();
    return results.map(result => result ?? remember(again.next().value as SignedTransaction));
  }

  function remember(signed: SignedTransaction): SignedTransaction {
    if (next === undefined || signed.nonce >= next) next = signed.nonce + 1n;
    return signed;
  }

  return {
    sign: (request, firstNonce) =>
      new Promise((resolve, reject) => {
        waiting.push({ ...request, firstNonce, resolve, reject });
        if (!running) void run();
      }),
    nextNonce: () => next,
    forget() {
      next = undefined;
    },
  };
}
