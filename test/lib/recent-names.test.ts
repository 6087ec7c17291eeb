import { expect, it } from 'vitest';
import { createRecentNames } from '../../src/lib/recent-names.ts';

it('knows the last names it was told', () => {
  const isKnown = createRecentNames(2);
  expect(['a', 'b', 'a', 'c'].map(isKnown)).toEqual([false, false, true, false]);
  // b was told longest ago.
  expect(['a', 'c', 'b'].map(isKnown)).toEqual([true, true, false]);
});
