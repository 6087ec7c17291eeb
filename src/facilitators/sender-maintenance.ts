import type { Clock } from '../lib/clock.ts';
import { readValidBefore } from '../lib/eip3009.ts';
import { readPermitDeadline } from '../lib/permit2.ts';
import type { EvmClient } from '../ports/evm-client.ts';
import type { SenderKey, SenderStore, SignedTransaction } from '../ports/sender-store.ts';
import {
  fillerCall,
  type OutgoingCall,
  offeredFees,
  raisedFees,
  readTransaction,
  type SigningKey,
  signTransaction,
} from './evm-transaction.ts';

export interface SenderMaintenanceOptions {
  client: EvmClient;
  store: SenderStore;
  clock: Clock;
  key: SenderKey;
  signing: SigningKey;
  gasPrice: () => Promise<bigint>;
}

/** How long the first waiting transaction may wait before it is offered with a higher fee. */
const STUCK_AFTER_MS = 30_000;

/** A nonce counts as mined for good when two answers of the node this far apart say so. */
const MINED_FOR_GOOD_MS = 10_000;

/** An offer this many times the price does not wait for money, so raising it would only cost. */
const ENOUGH_TIMES_THE_PRICE = 10n;

/** Blocks may carry a time that is a little behind ours. */
const SURELY_OVER_MS = 60_000n;

/** One round sends for at most this long; the next begins with the lowest nonce again. */
const ROUND_BUDGET_MS = 5_000;
const MAX_SENT_PER_ROUND = 200;
const MAX_FILLED_PER_ROUND = 50;

/**
 * Keeps the queue of one key moving. The number of mined transactions is the chain's truth about our nonces;
 * everything stored from there on is still to be mined and is in order only if every nonce has a transaction
 * that the node knows and that offers enough.
 */
export function createSenderMaintenance(options: SenderMaintenanceOptions) {
  const { client, store, clock, key, signing, gasPrice } = options;
  let previous: bigint | undefined;
  let mark: { mined: bigint; readAtMs: number } | undefined;
  let minedForGood = 0n;
  let first: { hash: string; sinceMs: number } | undefined;

  function noteMined(mined: bigint): void {
    const nowMs = clock.nowMs();
    if (mark && nowMs - mark.readAtMs < MINED_FOR_GOOD_MS) return;
    if (mark) minedForGood = mark.mined < mined ? mark.mined : mined;
    mark = { mined, readAtMs: nowMs };
  }

  /** A gap has to be seen twice, because a node that lags behind shows one where there is none. */
  async function closeGap(mined: bigint): Promise<void> {
    const seenTwice = previous === mined;
    previous = mined;
    if (!seenTwice) return;
    const missing = await store.closeGap(key, mined, MAX_FILLED_PER_ROUND);
    if (missing.length === 0) return;
    const fees = offeredFees(await gasPrice());
    for (const nonce of missing) {
      await store.fill(key, signTransaction(signing, nonce, fillerCall(key.sender), fees));
    }
  }

  /** The hash of the first waiting transaction changes with each replacement, by whichever replica. */
  function isStuck(transaction: SignedTransaction | undefined, mined: bigint): boolean {
    if (transaction?.nonce !== mined) {
      first = undefined;
      return false;
    }
    const nowMs = clock.nowMs();
    if (first?.hash !== transaction.hash) first = { hash: transaction.hash, sinceMs: nowMs };
    return nowMs - first.sinceMs >= STUCK_AFTER_MS;
  }

  /** Offers the first transaction with a higher fee, and those behind it that would be stuck next. */
  async function raiseFees(waiting: readonly SignedTransaction[], mined: bigint): Promise<void> {
    const price = await gasPrice();
    for (const old of waiting) {
      const { call, fees } = readTransaction(old.raw);
      const tooLow = old.nonce === mined || fees.maxFeePerGas < price;
      if (!tooLow || fees.maxFeePerGas >= price * ENOUGH_TIMES_THE_PRICE) continue;
      const next = isOver(call) ? fillerCall(key.sender) : call;
      // False when another replica was faster: its bytes are as good.
      await store.replace(key, old, signTransaction(signing, old.nonce, next, raisedFees(fees, price)));
    }
  }

  /** A payment whose permission has ended can only be reverted: its nonce is used up for less. */
  function isOver({ data }: OutgoingCall): boolean {
    const validBefore = readValidBefore(data) ?? readPermitDeadline(data);
    return validBefore !== undefined && BigInt(clock.nowMs()) > validBefore * 1000n + SURELY_OVER_MS;
  }

  return {
    /** A count of mined transactions that no single wrong answer can have made too high. */
    minedForGood: () => minedForGood,
    /**
     * One round: close gaps, replace what is stuck, give the node everything that waits. What is stored is
     * sent also when one of the first two fails, for instance for want of a credible price.
     * @throws the first failure, after the round.
     */
    async round(): Promise<void> {
      const deadlineMs = performance.now() + ROUND_BUDGET_MS;
      const problems: unknown[] = [];
      const note = (error: unknown) => void problems.push(error);
      const mined = await client.transactionCount(key.sender);
      noteMined(mined);
      await store.initialise(key, mined);
      await closeGap(mined).catch(note);
      let waiting = await store.listLive(key, mined, MAX_SENT_PER_ROUND);
      if (isStuck(waiting[0], mined)) {
        await raiseFees(waiting, mined).catch(note);
        waiting = await store.listLive(key, mined, MAX_SENT_PER_ROUND);
      }
      for (const { raw } of waiting) {
        if (performance.now() > deadlineMs) break;
        await client.sendRawTransaction(raw).catch(() => undefined);
      }
      if (problems.length > 0) throw problems[0];
    },
    /** Forgets what was seen of a chain that is replaced by another. */
    forget(): void {
      previous = undefined;
      mark = undefined;
      minedForGood = 0n;
      first = undefined;
    },
  };
}
