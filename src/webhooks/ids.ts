const PREFIXES = { endpoint: 'wh_', event: 'evt_', delivery: 'dlv_' } as const;

type Kind = keyof typeof PREFIXES;

const HEX = /^[0-9a-f]{32}$/;

/** An id as receivers and owners see it: the kind and the UUID's digits. */
export function publicId(kind: Kind, uuid: string): string {
  return PREFIXES[kind] + uuid.replaceAll('-', '');
}

/** The UUID of a public id; undefined for what cannot be one, which is then the id of nothing. */
export function parsePublicId(kind: Kind, text: string): string | undefined {
  const hex = text.startsWith(PREFIXES[kind]) ? text.slice(PREFIXES[kind].length) : '';
  if (!HEX.test(hex)) return undefined;
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
