/** Deliveries under way in this process, over all receivers. */
const MAX_IN_FLIGHT = 256;
/** To one receiver. */
const PER_ENDPOINT = 8;
/** Of these, receivers that did not answer in time may hold so many together. */
const MAX_SLOW_IN_FLIGHT = 128;
/** Receivers remembered as slow; beyond it the one remembered longest is given another chance. */
const MAX_SLOW_ENDPOINTS = 10_000;

/** Shares the process's deliveries out among the receivers, so that a slow one delays only itself. */
export interface Slots {
  /** How many more deliveries may start. */
  free(): number;
  /** How many a receiver may have that is not named in `taken`. */
  readonly perEndpoint: number;
  /** How many more each receiver may have that has some under way, or was slow. */
  taken(): ReadonlyMap<string, number>;
  start(endpointId: string): void;
  end(endpointId: string, timedOut: boolean): void;
}

/**
 * A receiver that timed out gets one delivery at a time until it answers again, and all such receivers
 * together at most half of the slots: however many of them there are, the others find room.
 */
export function createSlots(): Slots {
  const underWay = new Map<string, number>();
  const slow = new Set<string>();
  let total = 0;
  let slowTotal = 0;

  const countOf = (endpointId: string) => underWay.get(endpointId) ?? 0;

  function freeFor(endpointId: string): number {
    if (!slow.has(endpointId)) return Math.max(0, PER_ENDPOINT - countOf(endpointId));
    return slowTotal < MAX_SLOW_IN_FLIGHT && countOf(endpointId) === 0 ? 1 : 0;
  }

  function remember(endpointId: string, timedOut: boolean): void {
    if (timedOut === slow.has(endpointId)) return;
    if (!timedOut) {
      slow.delete(endpointId);
      slowTotal -= countOf(endpointId);
      return;
    }
    slow.add(endpointId);
    slowTotal += countOf(endpointId);
    const [oldest] = slow;
    if (slow.size > MAX_SLOW_ENDPOINTS && oldest !== undefined) remember(oldest, false);
  }

  function count(endpointId: string, change: 1 | -1): void {
    const now = countOf(endpointId) + change;
    if (now === 0) underWay.delete(endpointId);
    else underWay.set(endpointId, now);
    total += change;
    if (slow.has(endpointId)) slowTotal += change;
  }

  return {
    perEndpoint: PER_ENDPOINT,
    free: () => MAX_IN_FLIGHT - total,
    taken: () => new Map([...new Set([...underWay.keys(), ...slow])].map(id => [id, freeFor(id)])),
    start: endpointId => count(endpointId, 1),
    end(endpointId, timedOut) {
      count(endpointId, -1);
      remember(endpointId, timedOut);
    },
  };
}
