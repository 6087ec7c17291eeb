import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { baseUnitsToNano, formatUsd, MAX_NANO_USD, nanoToBaseUnits, parseUsd } from '../../src/lib/money.ts';

describe('parseUsd', () => {
  it.each([
    ['0', 0n],
    ['10', 10_000_000_000n],
    ['0.25', 250_000_000n],
    ['0.000000001', 1n],
    ['9223372036.854775807', MAX_NANO_USD],
  ])('reads %s', (text, nano) => {
    expect(parseUsd(text)).toBe(nano);
  });

  it.each([
    '',
    ' 1',
    '1 ',
    '-1',
    '+1',
    '01',
    '1.',
    '.5',
    '1e3',
    '1,000',
    '0x10',
    '1.0000000001',
    '9223372036.854775808',
    'NaN',
    '١',
  ])('refuses %j', text => {
    expect(parseUsd(text)).toBeUndefined();
  });

  it('reads what formatUsd writes', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: MAX_NANO_USD }), nano => parseUsd(formatUsd(nano)) === nano),
      { seed: 8453 },
    );
  });
});

describe('formatUsd', () => {
  it.each([
    [0n, '0'],
    [10_000_000_000n, '10'],
    [22_500_000_000n, '22.5'],
    [-6_600n, '-0.0000066'],
    [1n, '0.000000001'],
  ])('writes %s as %s', (nano, text) => {
    expect(formatUsd(nano)).toBe(text);
  });
});

describe('base units', () => {
  it('are exact for USDC', () => {
    expect(baseUnitsToNano(10_000_000n, 6)).toBe(10_000_000_000n);
    expect(nanoToBaseUnits(10_000_000_000n, 6)).toBe(10_000_000n);
  });

  it('round a credit down and a charge up', () => {
    expect(baseUnitsToNano(1_999n, 12)).toBe(1n);
    expect(nanoToBaseUnits(1n, 6)).toBe(1n);
    expect(nanoToBaseUnits(1_001n, 6)).toBe(2n);
  });
});
