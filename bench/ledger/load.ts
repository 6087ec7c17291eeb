import { sleep } from '../../src/lib/deadline.ts';
import { newId } from '../../src/lib/ids.ts';
import { ACCOUNTS, type Session } from './contenders.ts';

/** What one run gave: units of work per second, and the time of one unit in milliseconds. */
export interface Measure {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
}

export interface Workload {
  kind: 'debit' | 'pair';
  spread: boolean;
}

function pickAccount(spread: boolean): bigint {
  return spread ? BigInt(1 + Math.floor(Math.random() * ACCOUNTS)) : 1n;
}

async function performOnce(session: Session, { kind, spread }: Workload): Promise<void> {
  const target = { accountId: pickAccount(spread), id: newId() };
  if (kind === 'debit') {
    await session.perform({ kind, ...target, amountNanoUsd: 7n });
    return;
  }
  await session.perform({ kind: 'hold', ...target, amountNanoUsd: 9n, lifetimeMs: 60_000 });
  await session.perform({ kind: 'capture', ...target, amountNanoUsd: 7n });
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** A closed loop: every finished unit is followed by the next. The first tenth of the time is not counted. */
export async function closedLoop(
  session: Session,
  workload: Workload,
  inFlight: number,
  durationMs: number,
): Promise<Measure> {
  const start = performance.now();
  const countFrom = start + durationMs / 10;
  const end = start + durationMs;
  const times: number[] = [];
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      for (;;) {
        const from = performance.now();
        if (from >= end) return;
        await performOnce(session, workload);
        const now = performance.now();
        if (from >= countFrom && now <= end) times.push(now - from);
      }
    }),
  );
  times.sort((x, y) => x - y);
  return {
    perSecond: (times.length / (durationMs * 0.9)) * 1_000,
    p50Ms: percentile(times, 0.5),
    p99Ms: percentile(times, 0.99),
  };
}

/**
 * An open loop: requests start at a fixed rate whatever the answers do, as customers are. A request is a hold,
 * 20 to 80 ms of work elsewhere, and a capture. Measures the hold.
 */
export async function openLoop(session: Session, perSecond: number, durationMs: number): Promise<Measure> {
  const times: number[] = [];
  const requests: Promise<void>[] = [];
  const start = performance.now();
  for (let started = 0; ; ) {
    const elapsed = performance.now() - start;
    if (elapsed >= durationMs) break;
    for (const due = (elapsed / 1_000) * perSecond; started < due; started += 1) {
      requests.push(request(session, times));
    }
    await sleep(1);
  }
  await Promise.all(requests);
  const counted = times.slice(Math.floor(times.length / 10)).sort((x, y) => x - y);
  return {
    perSecond: requests.length / (durationMs / 1_000),
    p50Ms: percentile(counted, 0.5),
    p99Ms: percentile(counted, 0.99),
  };
}

async function request(session: Session, times: number[]): Promise<void> {
  const target = { accountId: pickAccount(true), id: newId() };
  const from = performance.now();
  await session.perform({ kind: 'hold', ...target, amountNanoUsd: 9n, lifetimeMs: 60_000 });
  times.push(performance.now() - from);
  await sleep(20 + Math.random() * 60);
  await session.perform({ kind: 'capture', ...target, amountNanoUsd: 7n });
}
