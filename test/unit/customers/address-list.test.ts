import { describe, expect, it } from 'vitest';
import { createAddressList, parseAddressRange } from '../../../src/customers/address-list.ts';

describe('an address range', () => {
  it.each(['203.0.113.7', '10.0.0.0/8', '0.0.0.0/0', '2001:db8::1', '2001:db8::/32', '::/0'])(
    'may be %s',
    text => {
      expect(parseAddressRange(text)).toBeDefined();
    },
  );

  it.each([
    '',
    'example.com',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '2001:db8::/129',
    '10.0.0.0/',
    'fe80::1%eth0',
  ])('may not be %s', text => {
    expect(parseAddressRange(text)).toBeUndefined();
    expect(() => createAddressList([text])).toThrow('not an address range');
  });
});

describe('an address list', () => {
  const list = createAddressList(['10.0.0.0/8', '203.0.113.7', '2001:db8::/32']);

  it.each([
    '10.1.2.3',
    '::ffff:10.1.2.3',
    '::ffff:0a01:0203',
    '203.0.113.7',
    '2001:db8:1::1',
    '2001:db8::1%eth0',
  ])('has %s', address => {
    expect(list.has(address)).toBe(true);
  });

  it.each(['11.0.0.0', '203.0.113.8', '::ffff:203.0.113.8', '2001:db9::1', '::1', '', 'localhost'])(
    'does not have %s',
    address => {
      expect(list.has(address)).toBe(false);
    },
  );
});
