import { BlockList, isIP } from 'node:net';

interface AddressRange {
  address: string;
  bits: number;
  family: 'ipv4' | 'ipv6';
}

const PREFIX_LENGTH = /^\d{1,3}$/;

/**
 * Reads an address or a CIDR, e.g. `203.0.113.7`, `10.0.0.0/8` or `2001:db8::/32`.
 * @returns undefined for anything else, such as an address with a zone.
 */
export function parseAddressRange(text: string): AddressRange | undefined {
  const [address = '', length, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0 || address.includes('%')) return undefined;
  const size = version === 4 ? 32 : 128;
  if (length === undefined) return { address, bits: size, family: version === 4 ? 'ipv4' : 'ipv6' };
  if (!PREFIX_LENGTH.test(length) || Number(length) > size) return undefined;
  return { address, bits: Number(length), family: version === 4 ? 'ipv4' : 'ipv6' };
}

/** The addresses that may use a key. An IPv4 caller is the same whether or not it arrives as IPv6. */
export interface AddressList {
  has(address: string): boolean;
}

/** @throws when a range is none: ranges are checked before they are stored. */
export function createAddressList(ranges: readonly string[]): AddressList {
  const list = new BlockList();
  for (const text of ranges) {
    const range = parseAddressRange(text);
    if (!range) throw new Error('not an address range');
    list.addSubnet(range.address, range.bits, range.family);
  }
  return {
    has(text) {
      const [address = ''] = text.split('%', 1);
      const version = isIP(address);
      return version !== 0 && list.check(address, version === 4 ? 'ipv4' : 'ipv6');
    },
  };
}
