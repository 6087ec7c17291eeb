import { describe, expect, it } from 'vitest';
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import { findSvmNetwork } from '../../src/chains/svm-networks.ts';
import { depthFor, readDepthRules } from '../../src/lib/confirmations.ts';
import { NANO_PER_USD } from '../../src/lib/money.ts';

const rules = readDepthRules({ '1000': 10, '0': 1, '10000': 'final' }) ?? [];
const THOUSAND = 1_000n * NANO_PER_USD;
const TEN_THOUSAND = 10_000n * NANO_PER_USD;

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

describe('confirmations where no setting says anything', () => {
  it.each([
    ['eip155:8453', [1, 1, 10, 10, 'final', 'final']],
    ['eip155:84532', [1, 1, 10, 10, 'final', 'final']],
    ['solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp', [1, 1, 'final', 'final', 'final', 'final']],
  ])('%s asks more for more money', (id, depths) => {
    const network = findEvmNetwork(id) ?? findSvmNetwork(id);
    const defaults = network?.confirmations ?? [];
    const amounts = [1n, THOUSAND - 1n, THOUSAND, TEN_THOUSAND - 1n, TEN_THOUSAND, 100n * TEN_THOUSAND];
    expect(amounts.map(amount => depthFor(defaults, amount))).toEqual(depths);
  });
});
