/** Attempts under way in this process that may still be answered promptly, over all receivers. */
const MAX_PROMPT = 256;
/** All attempts under way: a mass of receivers that stop answering at once must not use up the sockets. */
const MAX_IN_FLIGHT = 1_024;
/** To one receiver, and to all receivers of one owner. */
const PER_ENDPOINT = 8;
const PER_OWNER = 32;
/** Whatever comes of an attempt: whoever holds it for longer than this is slow. */
export const SLOW_MS = 2_000;
/** Of all attempts, those that receivers known as slow may hold together. */
const MAX_SLOW_IN_FLIGHT = 128;
/** Receivers remembered as slow; beyond it the one remembered longest is given another chance. */
const MAX_SLOW_ENDPOINTS = 10_000;

export interface SlotHolder {
  endpointId: string;
  /** Whose endpoint it is; owners are told apart by this text and by nothing else. */
  owner: string;
}

/** What may be started now. Every limit holds for one claim as a whole, not only from one claim to the next. */
export interface Allowance {
  /** Deliveries in all. */
  total: number;
  perEndpoint: number;
  perOwner: number;
  /** For receivers that have some under way, or are slow: how many more, instead of `perEndpoint`. */
  endpoints: ReadonlyMap<string, { free: number; isSlow: boolean }>;
  /** For owners that have some under way: how many more, instead of `perOwner`. */
  owners: ReadonlyMap<string, number>;
  /** Of `total`, to receivers that are slow. */
  slow: number;
}

/** Shares the process's attempts out among the receivers, so that a slow one delays only itself. */
export interface Slots {
  allowance(): Allowance;
  /** @returns what ends the attempt, told how long the receiver held it */
  start(holder: SlotHolder): (heldMs: number) => void;
}

interface Attempt {
  endpointId: string;
  startedAtMs: number;
  state: 'prompt' | 'overdue' | 'ended';
}

/**
 * Judges a receiver by the time that it holds an attempt, not by how the attempt ends. A slow one gets one at a
 * time until it is prompt again, and all slow ones together a share of their own. An attempt that is overdue
 * counts there at once and makes room for another: receivers that stop answering hold up nobody for longer than
 * {@link SLOW_MS}, however many of them there are.
 * @param elapsedMs milliseconds that only ever grow
 */
export function createSlots(elapsedMs: () => number = () => performance.now()): Slots {
  const byEndpoint = createCounts();
  const byOwner = createCounts();
  const overdue = createCounts();
  const slow = new Set<string>();
  /** In the order of their start; those that have ended leave when they come to the head. */
  const attempts: Attempt[] = [];
  let prompt = 0;
  let total = 0;
  let slowTotal = 0;

  function setSlow(endpointId: string, isSlow: boolean): void {
    if (isSlow === slow.has(endpointId)) return;
    if (!isSlow) {
      slow.delete(endpointId);
      slowTotal -= byEndpoint.of(endpointId);
      return;
    }
    slow.add(endpointId);
    slowTotal += byEndpoint.of(endpointId);
    const [oldest] = slow;
    if (slow.size > MAX_SLOW_ENDPOINTS && oldest !== undefined) setSlow(oldest, false);
  }

  function noteOverdue(): void {
    const before = elapsedMs() - SLOW_MS;
    for (;;) {
      const [oldest] = attempts;
      if (!oldest || (oldest.state === 'prompt' && oldest.startedAtMs > before)) return;
      attempts.shift();
      if (oldest.state === 'ended') continue;
      oldest.state = 'overdue';
      prompt -= 1;
      overdue.add(oldest.endpointId, 1);
      setSlow(oldest.endpointId, true);
    }
  }

  function freeFor(endpointId: string): { free: number; isSlow: boolean } {
    const isSlow = slow.has(endpointId);
    return { free: Math.max(0, (isSlow ? 1 : PER_ENDPOINT) - byEndpoint.of(endpointId)), isSlow };
  }

  return {
    allowance() {
      noteOverdue();
      return {
        total: Math.max(0, Math.min(MAX_PROMPT - prompt, MAX_IN_FLIGHT - total)),
        perEndpoint: PER_ENDPOINT,
        perOwner: PER_OWNER,
        endpoints: new Map([...new Set([...byEndpoint.names(), ...slow])].map(id => [id, freeFor(id)])),
        owners: new Map([...byOwner.names()].map(name => [name, Math.max(0, PER_OWNER - byOwner.of(name))])),
        slow: Math.max(0, MAX_SLOW_IN_FLIGHT - slowTotal),
      };
    },
    start({ endpointId, owner }) {
      const attempt: Attempt = { endpointId, startedAtMs: elapsedMs(), state: 'prompt' };
      attempts.push(attempt);
      const change = (by: 1 | -1) => {
        byEndpoint.add(endpointId, by);
        byOwner.add(owner, by);
        total += by;
        if (slow.has(endpointId)) slowTotal += by;
      };
      change(1);
      prompt += 1;
      return heldMs => {
        change(-1);
        if (attempt.state === 'overdue') overdue.add(endpointId, -1);
        else prompt -= 1;
        attempt.state = 'ended';
        setSlow(endpointId, heldMs > SLOW_MS || overdue.of(endpointId) > 0);
      };
    },
  };
}

/** Counts by name; a name whose count is zero is forgotten. */
function createCounts() {
  const counts = new Map<string, number>();
  const of = (name: string) => counts.get(name) ?? 0;
  return {
    of,
    names: () => counts.keys(),
    add(name: string, change: 1 | -1) {
      const now = of(name) + change;
      if (now === 0) counts.delete(name);
      else counts.set(name, now);
    },
  };
}
