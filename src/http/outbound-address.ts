import ipaddr from 'ipaddr.js';

/** Global unicast: what of IPv6 is handed out to networks of others. */
const GLOBAL_UNICAST: [ipaddr.IPv6, number] = [ipaddr.IPv6.parse('2000::'), 3];

/** Public by its range, but answered by the host of an Azure machine. */
const AZURE_HOST_ADDRESS = '168.63.129.16';

/**
 * True for an address that belongs to somebody on the public network: not loopback, private, link-local (and
 * with it the metadata services of the clouds), shared, multicast, reserved or translated.
 */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  // An IPv4 address in IPv6 notation is judged as what it is.
  const parsed = ipaddr.process(address);
  if (parsed.range() !== 'unicast') return false;
  if (parsed.kind() === 'ipv4') return parsed.toString() !== AZURE_HOST_ADDRESS;
  return parsed.match(GLOBAL_UNICAST);
}

/** True for an address of this machine itself. */
export function isLoopbackAddress(address: string): boolean {
  return ipaddr.isValid(address) && ipaddr.process(address).range() === 'loopback';
}
