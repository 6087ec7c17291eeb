import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { hashApiKey, mintApiKey } from '../../../src/customers/api-key-format.ts';

describe('a fresh key', () => {
  it.each([
    ['live', /^dkn_live_[A-Za-z0-9]{40}$/],
    ['test', /^dkn_test_[A-Za-z0-9]{40}$/],
  ] as const)('of environment %s has its form', (environment, form) => {
    expect(mintApiKey('dria', environment)).toMatch(form);
  });

  it('draws from the whole alphabet and never repeats', () => {
    const keys = Array.from({ length: 200 }, () => mintApiKey('dria', 'live'));
    expect(new Set(keys).size).toBe(200);
    const letters = keys.map(key => key.slice('dkn_live_'.length)).join('');
    expect(new Set(letters).size).toBe(62);
  });
});

describe('the stored hash', () => {
  it('is the SHA-256 of the whole key', () => {
    const key = mintApiKey('dria', 'live');
    expect(hashApiKey('dria', key)).toEqual(createHash('sha256').update(key, 'utf8').digest());
  });

  const suffix = 'Ab3'.repeat(13) + 'x';
  it.each([
    ['nothing', ''],
    ['a prefix alone', 'dkn_live_'],
    ['another prefix', `dkn_prod_${suffix}`],
    ['another letter case in the prefix', `DKN_LIVE_${suffix}`],
    ['too short', `dkn_live_${suffix.slice(1)}`],
    ['too long', `dkn_live_${suffix}x`],
    ['a letter outside the alphabet', `dkn_live_${suffix.slice(1)}-`],
    ['a line break at the end', `dkn_live_${suffix}\n`],
    ['no prefix', suffix],
  ])('does not exist for %s', (_, text) => {
    expect(hashApiKey('dria', text)).toBeUndefined();
    expect(hashApiKey('dria', `dkn_live_${suffix}`)).toBeDefined();
  });
});
