import { describe, expect, it } from 'vitest';
import { createShortMemory } from '../../src/lib/short-memory.ts';

function start(maxEntries = 10) {
  let nowMs = 0;
  const asked: string[] = [];
  const memory = createShortMemory<string>({ maxAgeMs: 1_000, maxEntries, elapsedMs: () => nowMs });
  return {
    asked,
    memory,
    wait: (ms: number) => {
      nowMs += ms;
    },
    recall: (name: string, answer: string | null | Error = name.toUpperCase()) =>
      memory.recall(name, async () => {
        asked.push(name);
        if (answer instanceof Error) throw answer;
        return answer ?? undefined;
      }),
  };
}

describe('a short memory', () => {
  it('asks once for all that come within its time, counted from the question', async () => {
    const { recall, wait, asked } = start();
    expect(await Promise.all([recall('a'), recall('a')])).toEqual(['A', 'A']);
    wait(999);
    expect(await recall('a', 'new')).toBe('A');
    wait(1);
    expect(await recall('a', 'new')).toBe('new');
    expect(asked).toEqual(['a', 'a']);
  });

  it('remembers neither what does not exist nor a failure', async () => {
    const { recall } = start();
    expect(await recall('a', null)).toBeUndefined();
    await expect(recall('b', new Error('down'))).rejects.toThrow('down');
    expect([await recall('a'), await recall('b')]).toEqual(['A', 'B']);
  });

  it('forgets the oldest beyond its size, and everything when told', async () => {
    const { recall, asked, memory } = start(2);
    for (const name of ['a', 'b', 'c', 'b', 'c']) await recall(name);
    expect(asked).toEqual(['a', 'b', 'c']);
    await recall('a');
    expect(asked).toEqual(['a', 'b', 'c', 'a']);
    memory.forgetAll();
    await recall('a');
    expect(asked).toHaveLength(5);
  });
});
