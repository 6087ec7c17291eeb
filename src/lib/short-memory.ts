/** Remembers answers for a moment, so that many callers at once cost one question. */
export interface ShortMemory<T> {
  /**
   * The remembered answer, or the one that `ask` gives now. `undefined` and failures are not remembered, so what
   * does not exist is found as soon as it does, and guesses cannot push out what is real.
   */
  recall(name: string, ask: () => Promise<T | undefined>): Promise<T | undefined>;
  /** For when everything that was remembered has been replaced. */
  forgetAll(): void;
}

export interface ShortMemoryOptions {
  /** Counted from the question, not from the answer. */
  maxAgeMs: number;
  /** Beyond it the answer asked for first is forgotten. */
  maxEntries: number;
  /** Milliseconds that only ever grow; a wall clock that is set back would lengthen an answer's life. */
  elapsedMs?: () => number;
}

interface Entry<T> {
  askedAtMs: number;
  answer: Promise<T | undefined>;
}

export function createShortMemory<T>(options: ShortMemoryOptions): ShortMemory<T> {
  const { maxAgeMs, maxEntries, elapsedMs = () => performance.now() } = options;
  const entries = new Map<string, Entry<T>>();
  return {
    recall(name, ask) {
      const known = entries.get(name);
      const nowMs = elapsedMs();
      if (known && nowMs - known.askedAtMs < maxAgeMs) return known.answer;
      const entry: Entry<T> = { askedAtMs: nowMs, answer: ask() };
      // Deleting first keeps the map in the order of asking.
      entries.delete(name);
      entries.set(name, entry);
      const [oldest] = entries.keys();
      if (entries.size > maxEntries && oldest !== undefined) entries.delete(oldest);
      const forget = () => entries.get(name) === entry && entries.delete(name);
      void entry.answer.then(answer => answer ?? forget(), forget);
      return entry.answer;
    },
    forgetAll: () => entries.clear(),
  };
}
