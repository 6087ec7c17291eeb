/** A rate with room for a burst: `perMinute` calls in the long run, `burst` of them at once. */
export interface BucketLimit {
  perMinute: number;
  burst: number;
}

export interface BucketState {
  isAllowed: boolean;
  /** Calls that may follow at once. */
  remaining: number;
  /** Until the next call is allowed; zero while there is one. */
  waitMs: number;
  /** Until the burst is whole again. */
  resetMs: number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Counters kept; beyond it the longest unused is forgotten, so memory stays bounded. */
const MAX_BUCKETS = 10_000;

/**
 * Counts calls by key, in this process. A bucket fills steadily, so a caller that keeps to the rate is never
 * refused, unlike with a window that has to end first.
 * @param elapsedMs milliseconds that only ever grow
 */
export function createTokenBuckets({ perMinute, burst }: BucketLimit, elapsedMs = () => performance.now()) {
  const buckets = new Map<string, Bucket>();
  const perMs = perMinute / 60_000;

  return (key: string): BucketState => {
    const nowMs = elapsedMs();
    const known = buckets.get(key);
    const filled = known ? known.tokens + (nowMs - known.atMs) * perMs : burst;
    const tokens = Math.min(burst, filled);
    const isAllowed = tokens >= 1;
    const left = isAllowed ? tokens - 1 : tokens;
    // Deleting first keeps the map in the order of use.
    buckets.delete(key);
    buckets.set(key, { tokens: left, atMs: nowMs });
    const [oldest] = buckets.keys();
    if (buckets.size > MAX_BUCKETS && oldest !== undefined) buckets.delete(oldest);
    return {
      isAllowed,
      remaining: Math.floor(left),
      waitMs: left >= 1 ? 0 : (1 - left) / perMs,
      resetMs: (burst - left) / perMs,
    };
  };
}
