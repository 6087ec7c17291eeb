import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createSealer } from '../../src/lib/sealed.ts';

describe('a sealed text', () => {
  const [older, newer] = [randomBytes(32), randomBytes(32)];

  it('is opened in its own context and with its own key alone', () => {
    const sealer = createSealer([older]);
    const sealed = sealer.seal('whsec_secret', 'endpoint 1');
    expect(sealed).not.toContain('secret');
    expect(sealer.open(sealed, 'endpoint 1')).toBe('whsec_secret');
    expect(() => sealer.open(sealed, 'endpoint 2')).toThrow(/DATA_ENCRYPTION_KEY/);
    expect(() => createSealer([newer]).open(sealed, 'endpoint 1')).toThrow();
    expect(() => createSealer([]).open(sealed, 'endpoint 1')).toThrow();
    expect(sealer.seal('whsec_secret', 'endpoint 1')).not.toBe(sealed);
  });

  it('is not opened when a character was changed', () => {
    const sealer = createSealer([older]);
    const sealed = sealer.seal('text', 'context');
    const last = sealed.at(-3) === 'A' ? 'B' : 'A';
    expect(() => sealer.open(sealed.slice(0, -3) + last + sealed.slice(-2), 'context')).toThrow();
    expect(() => sealer.open('aes256gcm.AAAA', 'context')).toThrow();
    expect(() => sealer.open('other', 'context')).toThrow();
  });

  it('survives a change of keys, and the coming of the first one', () => {
    const old = createSealer([older]).seal('a', 'c');
    const plain = createSealer([]).seal('b', 'c');
    const both = createSealer([newer, older]);
    expect([both.open(old, 'c'), both.open(plain, 'c')]).toEqual(['a', 'b']);
    expect(createSealer([newer]).open(both.seal('d', 'c'), 'c')).toBe('d');
  });
});
