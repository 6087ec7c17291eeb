const STANDARD = /^[A-Za-z0-9+/]*={0,2}$/;
const URL_SAFE = /^[A-Za-z0-9_-]*={0,2}$/;

/**
 * Decodes a header that carries base64 of UTF-8 JSON. Accepts the standard and the URL alphabet, with
 * or without padding; refuses everything else instead of skipping characters as Buffer does.
 * @returns the parsed value, or undefined when the text is not base64 or not JSON.
 */
export function decodeBase64Json(text: string): unknown {
  if (text.length === 0 || !(STANDARD.test(text) || URL_SAFE.test(text))) return undefined;
  try {
    const bytes = Buffer.from(text, 'base64');
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
  } catch {
    return undefined;
  }
}

/** Standard padded base64 of the value's JSON, as x402 headers carry it. */
export function encodeBase64Json(value: unknown): string {
  return Buffer.from(JSON.stringify(value), 'utf8').toString('base64');
}
