import { checksumAddress } from 'viem';

const ADDRESS = /^0x[0-9a-fA-F]{40}$/;

/**
 * Brings an EVM address to the form that is stored and compared: lower case. Mixed case carries a
 * checksum (EIP-55) and must match it, because a mistyped receiver or payer means lost money.
 * @returns undefined when the text is no address or its checksum is wrong.
 */
export function canonicalEvmAddress(text: string): string | undefined {
  if (!ADDRESS.test(text)) return undefined;
  const lower = text.toLowerCase();
  const digits = text.slice(2);
  const hasChecksum = digits !== digits.toLowerCase() && digits !== digits.toUpperCase();
  return hasChecksum && checksumAddress(lower as `0x${string}`) !== text ? undefined : lower;
}
