import { expect, it } from 'vitest';
import { canonicalEvmAddress } from '../../src/lib/evm-address.ts';

const CHECKSUMMED = '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913';
const LOWER = CHECKSUMMED.toLowerCase();

it('accepts lower case, upper case and a right checksum', () => {
  expect(canonicalEvmAddress(CHECKSUMMED)).toBe(LOWER);
  expect(canonicalEvmAddress(LOWER)).toBe(LOWER);
  expect(canonicalEvmAddress(`0x${LOWER.slice(2).toUpperCase()}`)).toBe(LOWER);
  expect(canonicalEvmAddress(`0x${'0'.repeat(40)}`)).toBe(`0x${'0'.repeat(40)}`);
});

it.each([
  ['a wrong checksum', CHECKSUMMED.replace('fCD6', 'FCD6')],
  ['no prefix', LOWER.slice(2)],
  ['an upper-case prefix', LOWER.replace('0x', '0X')],
  ['39 digits', LOWER.slice(0, -1)],
  ['41 digits', `${LOWER}0`],
  ['a line break at the end', `${LOWER}\n`],
  ['nothing', ''],
])('refuses %s', (_, text) => {
  expect(canonicalEvmAddress(text)).toBeUndefined();
});
