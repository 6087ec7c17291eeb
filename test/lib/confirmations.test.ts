import { describe, expect, it } from 'vitest';
import { depthFor, readDepthRules } from '../../src/lib/confirmations.ts';
import { NANO_PER_USD } from '../../src/lib/money.ts';

const rules = readDepthRules({ '1000': 10, '0': 1, '10000': 'final' }) ?? [];

describe('confirmations by amount', () => {
  it.each([
    [0n, 1],
    [5n, 1],
    [999n, 1],
    [1_000n, 10],
    [9_999n, 10],
    [10_000n, 'final'],
    [1_000_000n, 'final'],
  ])('$%i waits for %s', (usd, depth) => {
    expect(depthFor(rules, usd * NANO_PER_USD)).toBe(depth);
  });

  it('takes the amount at its last nano-dollar', () => {
    expect(depthFor(rules, 1_000n * NANO_PER_USD - 1n)).toBe(1);
  });

  it('asks for finality where no rule says anything', () => {
    expect(depthFor([], 1n)).toBe('final');
  });

  it.each([
    null,
    [],
    'final',
    {},
    { '1000': 10 },
    { '0': 0 },
    { '0': 1.5 },
    { '0': '1' },
    { '0': 1_001 },
    { '0': 'safe' },
    { '0': 1, '-5': 2 },
    { '0': 1, much: 2 },
  ])('does not read %j', value => {
    expect(readDepthRules(value)).toBeUndefined();
  });
});
