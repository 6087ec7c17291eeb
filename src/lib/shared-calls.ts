import { unavailable } from './errors.ts';

export interface SharedCallsOptions<Item, Result> {
  /** Who is called, for those who are turned away. */
  title: string;
  /** Does the work of many items in one call. @returns a result for each item, in their order */
  run(items: readonly Item[]): Promise<readonly Result[]>;
  maxItems: number;
  /** A call that takes longer is not waited for any more by those who came after it. */
  patienceMs: number;
  /** Calls that take longer, at most; beyond that everybody waits. */
  maxSlow: number;
  /** Whether a call that failed so has done nothing, so that each of its items can have a call of its own. */
  isRepeatable(error: unknown): boolean;
}

interface Waiting<Item, Result> {
  item: Item;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/** Beyond that callers are turned away before memory grows. */
const MAX_WAITING = 10_000;

/** Items of calls that came to nothing, each in a call of its own, at once. */
const MAX_ALONE = 8;

/**
 * Lets what arrives while a call is under way share the next one, so that its cost is paid once for all of them. Who comes
 * alone waits for nobody, and nobody joins a call that has been sent: no answer is older than its question.
 *
 * `run` has to end: it is what bounds the wait. The promise of an item that was turned away says `unavailable`, and nothing
 * was done for it.
 */
export function shareCalls<Item, Result>(
  options: SharedCallsOptions<Item, Result>,
): (item: Item) => Promise<Result> {
  const { title, run, maxItems, patienceMs, maxSlow, isRepeatable } = options;
  const waiting: Waiting<Item, Result>[] = [];
  const separate: Waiting<Item, Result>[] = [];
  let underWay = 0;
  let alone = 0;
  /** The call that newcomers wait for; none once it is slow. */
  let awaited: symbol | undefined;

  function next(): void {
    if (awaited === undefined && waiting.length > 0 && underWay <= maxSlow) {
      void callTogether(waiting.splice(0, maxItems));
    }
    while (alone < MAX_ALONE) {
      const each = separate.shift();
      if (!each) break;
      void callAlone(each);
    }
  }

  async function callTogether(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    const self = Symbol('call');
    awaited = self;
    underWay += 1;
    const stepAside = () => {
      if (awaited === self) awaited = undefined;
      next();
    };
    const timer = setTimeout(stepAside, patienceMs);
    await send(batch);
    clearTimeout(timer);
    underWay -= 1;
    if (awaited === self) awaited = undefined;
    setImmediate(next);
  }

  async function callAlone(each: Waiting<Item, Result>): Promise<void> {
    alone += 1;
    await send([each]);
    alone -= 1;
    next();
  }

  async function send(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await run(batch.map(({ item }) => item));
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as Result);
    } catch (error) {
      if (batch.length > 1 && isRepeatable(error)) separate.push(...batch);
      else for (const { reject } of batch) reject(error);
    }
  }

  return item =>
    new Promise((resolve, reject) => {
      if (waiting.length + separate.length >= MAX_WAITING) return reject(unavailable(title));
      waiting.push({ item, resolve, reject });
      // Whoever asks in the same turn of the event loop shares the first call already. And what is sent at the end of a turn
      // does not wake those who answer while this process still has work, which costs it the processor.
      if (waiting.length === 1) setImmediate(next);
    });
}
