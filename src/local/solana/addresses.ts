import { type Address, getAddressDecoder, getAddressEncoder } from '@solana/kit';

/** More accounts than a sandbox has. */
const MAX_KNOWN = 20_000;

const texts = new Map<string, Address>();
const bytes = new Map<string, Uint8Array>();

/**
 * The base58 text of an address. Texts are kept, because the same few accounts come with every transaction, and writing
 * them anew took more time than running it.
 */
export function addressOf(address: Uint8Array): Address {
  return recall(texts, Buffer.from(address).toString('latin1'), () => getAddressDecoder().decode(address));
}

/** The 32 bytes of an address. */
export function addressBytes(address: string): Uint8Array {
  return recall(bytes, address, () => Uint8Array.from(getAddressEncoder().encode(address as Address)));
}

function recall<T>(known: Map<string, T>, key: string, make: () => T): T {
  const found = known.get(key);
  if (found !== undefined) return found;
  const made = make();
  if (known.size >= MAX_KNOWN) known.clear();
  known.set(key, made);
  return made;
}
