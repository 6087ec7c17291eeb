import { describe, expect, it } from 'vitest';
import { decodeBase64Json, encodeBase64Json } from '../../src/lib/base64.ts';
import { newId } from '../../src/lib/ids.ts';

describe('base64 JSON', () => {
  const value = { text: 'ünï?>~', n: 1 };

  it('reads the standard and the URL alphabet, padded or not', () => {
    const standard = encodeBase64Json(value);
    const urlSafe = Buffer.from(JSON.stringify(value)).toString('base64url');
    for (const text of [standard, standard.replace(/=+$/, ''), urlSafe])
      expect(decodeBase64Json(text)).toEqual(value);
  });

  it.each([
    '',
    '{"a":1}',
    'e30 ',
    'e3\n0',
    'e30=e30=',
    'a+b_',
    '====',
    Buffer.from([0x22, 0xff, 0x22]).toString('base64'),
  ])('refuses %j', text => {
    expect(decodeBase64Json(text)).toBeUndefined();
  });
});

describe('newId', () => {
  it('is a UUIDv7 of its time', () => {
    const id = newId(1_795_197_673_843);
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(Number.parseInt(id.replace(/-/g, '').slice(0, 12), 16)).toBe(1_795_197_673_843);
    expect(newId(1)).not.toBe(newId(1));
  });
});
