import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { shareCalls } from '../../src/lib/shared-calls.ts';

const PATIENCE_MS = 20;
const MAX_SLOW = 2;

class NothingDone extends Error {}

/** Calls that end when the test says so. */
function manualCalls() {
  const calls: { items: readonly string[]; end(): void; fail(error: Error): void }[] = [];
  const ask = shareCalls<string, string>({
    title: 'the test',
    run: items =>
      new Promise((resolve, reject) => {
        calls.push({ items, end: () => resolve(items.map(item => item.toUpperCase())), fail: reject });
      }),
    maxItems: 3,
    patienceMs: PATIENCE_MS,
    maxSlow: MAX_SLOW,
    isRepeatable: error => error instanceof NothingDone,
  });
  const sent = async (): Promise<string[]> => {
    await vi.advanceTimersByTimeAsync(0);
    return calls.map(({ items }) => items.join(''));
  };
  return { calls, ask, sent };
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe('calls that are shared', () => {
  it('are sent at once for who comes alone', async () => {
    const { ask, sent, calls } = manualCalls();
    const answer = ask('a');
    expect(await sent()).toEqual(['a']);
    calls[0]?.end();
    expect(await answer).toBe('A');
  });

  it('take together who asks in the same breath, and each gets its own answer', async () => {
    const { ask, sent, calls } = manualCalls();
    const answers = Promise.all(['a', 'b', 'c'].map(ask));
    expect(await sent()).toEqual(['abc']);
    calls[0]?.end();
    expect(await answers).toEqual(['A', 'B', 'C']);
  });

  it('let nobody join one that was sent, and hold no more than they may', async () => {
    const { ask, sent, calls } = manualCalls();
    const first = ask('a');
    expect(await sent()).toEqual(['a']);
    const rest = Promise.all(['b', 'c', 'd', 'e'].map(ask));
    expect(await sent()).toEqual(['a']);
    calls[0]?.end();
    expect(await first).toBe('A');
    expect(await sent()).toEqual(['a', 'bcd']);
    calls[1]?.end();
    expect(await sent()).toEqual(['a', 'bcd', 'e']);
    calls[2]?.end();
    expect(await rest).toEqual(['B', 'C', 'D', 'E']);
  });

  it('do not wait behind a slow one, until too many are slow', async () => {
    const { ask, sent, calls } = manualCalls();
    const all: Promise<string>[] = [];
    for (const item of ['a', 'b', 'c', 'd']) {
      all.push(ask(item));
      await vi.advanceTimersByTimeAsync(PATIENCE_MS);
    }
    expect(await sent()).toEqual(['a', 'b', 'c']);
    // All three are slow, and the end of any lets the next one go.
    calls[2]?.end();
    expect(await all[2]).toBe('C');
    expect(await sent()).toEqual(['a', 'b', 'c', 'd']);
    for (const call of calls) call.end();
    expect(await Promise.all(all)).toEqual(['A', 'B', 'C', 'D']);
    const later = ask('e');
    expect(await sent()).toEqual(['a', 'b', 'c', 'd', 'e']);
    calls[4]?.end();
    expect(await later).toBe('E');
  });

  it('are not held up for ever by one that was slow when others were', async () => {
    const { ask, sent, calls } = manualCalls();
    const all: Promise<string>[] = [];
    for (const item of ['a', 'b', 'c']) {
      all.push(ask(item));
      await vi.advanceTimersByTimeAsync(PATIENCE_MS);
    }
    calls[0]?.end();
    calls[1]?.end();
    all.push(ask('d'));
    expect(await sent()).toEqual(['a', 'b', 'c', 'd']);
    calls[2]?.end();
    calls[3]?.end();
    expect(await Promise.all(all)).toEqual(['A', 'B', 'C', 'D']);
  });

  it('turn callers away when too many wait, and nothing is done for those', async () => {
    const { ask, sent, calls } = manualCalls();
    const first = ask('a');
    await sent();
    const waiting = Array.from({ length: 10_000 }, () => ask('b'));
    await expect(ask('c')).rejects.toMatchObject({ code: 'unavailable' });
    calls[0]?.end();
    await first;
    while (calls.length < 3_335) {
      calls.at(-1)?.end();
      await vi.advanceTimersByTimeAsync(0);
    }
    calls.at(-1)?.end();
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['B']));
    expect((await sent()).join('')).not.toContain('c');
  });

  it('are made again one by one when they have done nothing', async () => {
    const { ask, sent, calls } = manualCalls();
    const answers = Promise.allSettled(['a', 'b', 'c'].map(ask));
    expect(await sent()).toEqual(['abc']);
    calls[0]?.fail(new NothingDone());
    expect(await sent()).toEqual(['abc', 'a', 'b', 'c']);
    calls[1]?.end();
    calls[2]?.fail(new NothingDone('b is wrong'));
    calls[3]?.end();
    expect(await answers).toMatchObject([
      { value: 'A' },
      { status: 'rejected', reason: { message: 'b is wrong' } },
      { value: 'C' },
    ]);
    expect(calls).toHaveLength(4);
  });

  it('are made one by one a few at a time, while others go on', async () => {
    const { ask, sent, calls } = manualCalls();
    const answers = Promise.all(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'].map(ask));
    for (const batch of ['abc', 'def', 'ghi']) {
      await sent();
      calls.find(({ items }) => items.join('') === batch)?.fail(new NothingDone());
    }
    const more = ask('x');
    expect((await sent()).toSorted()).toEqual(
      ['abc', 'def', 'ghi', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'x'].toSorted(),
    );
    calls.find(({ items }) => items[0] === 'x')?.end();
    expect(await more).toBe('X');
    for (const call of calls) call.end();
    expect((await sent()).at(-1)).toBe('i');
    calls.at(-1)?.end();
    expect((await answers).join('')).toBe('ABCDEFGHI');
  });

  it('are not made again when nobody knows what they have done', async () => {
    const { ask, sent, calls } = manualCalls();
    const answers = Promise.allSettled(['a', 'b'].map(ask));
    await sent();
    calls[0]?.fail(new Error('lost'));
    expect(await answers).toMatchObject([{ reason: { message: 'lost' } }, { reason: { message: 'lost' } }]);
    const next = ask('c');
    expect(await sent()).toEqual(['ab', 'c']);
    calls[1]?.end();
    expect(await next).toBe('C');
  });
});
