const CALLER = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const KEY = /^[\x21-\x7e]{32,256}$/;

/**
 * Reads FACILITATOR_API_KEYS: a JSON object of keys by the name of their holder. Stored results belong to the
 * name, so a key can be changed without losing them.
 */
export function parseFacilitatorApiKeys(text: string, problems: string[]): Readonly<Record<string, string>> {
  if (text === '') return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    problems.push('FACILITATOR_API_KEYS must be a JSON object of keys by the name of their holder');
    return {};
  }
  const entries = Object.entries(parsed).filter((entry): entry is [string, string] => {
    const [caller, key] = entry;
    const valid = CALLER.test(caller) && typeof key === 'string' && KEY.test(key);
    if (!valid)
      problems.push(
        'FACILITATOR_API_KEYS: names are lower-case words, keys 32 to 256 characters without spaces',
      );
    return valid;
  });
  const keys = entries.map(([, key]) => key);
  if (new Set(keys).size < keys.length) problems.push('FACILITATOR_API_KEYS holds one key twice');
  return Object.fromEntries(entries);
}
