import { describe, expect, it } from 'vitest';
import { MORE_TO_DO, startLoop } from '../../src/lib/loop.ts';

const NEVER_MS = 3_600_000;

/** Runs a loop whose rounds have these outcomes, one after another. @returns what ends it once `count` rounds have begun */
async function runRounds(outcomes: readonly unknown[], count: number): Promise<{ errors: unknown[] }> {
  const errors: unknown[] = [];
  let rounds = 0;
  let enough = () => undefined as void;
  const begun = new Promise<void>(resolve => {
    enough = resolve;
  });
  const loop = startLoop({
    intervalMs: NEVER_MS,
    async round() {
      const outcome = outcomes[rounds];
      rounds += 1;
      if (rounds === count) enough();
      if (outcome instanceof Error) throw outcome;
      return outcome;
    },
    onError: error => errors.push(error),
  });
  await begun;
  await loop.stop();
  expect(rounds).toBe(count);
  return { errors };
}

describe('a loop', () => {
  it('goes on soon while there is more to do than one round takes on', async () => {
    await runRounds([MORE_TO_DO, MORE_TO_DO, MORE_TO_DO, undefined], 4);
  });

  it('pauses after a round that took on all there was, and is ended in the pause', async () => {
    await runRounds([7], 1);
  });

  it('reports a round that fails and pauses like after any other', async () => {
    const problem = new Error('a round that fails');
    expect(await runRounds([MORE_TO_DO, problem], 2)).toEqual({ errors: [problem] });
  });
});
