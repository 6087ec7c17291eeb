import { existsSync } from 'node:fs';
import path from 'node:path';
import { parseList } from './values.ts';

/** The facilitator inside this process; every other one is named by its URL. */
export const EMBEDDED = 'embedded';

/** What the settings say about facilitators. */
export interface FacilitatorSettings {
  /** In order of preference: `embedded` or base URLs without trailing slash. */
  facilitators: readonly string[];
  /** Headers of every call, by URL. Secret. */
  facilitatorHeaders: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Modules that make headers for each call, by URL: absolute paths. */
  facilitatorAuth: Readonly<Record<string, string>>;
}

const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]'];

/** Headers that belong to the call itself. */
const RESERVED_HEADERS = /^(?:host|content-type|content-length|transfer-encoding|connection)$/i;
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const HEADER_VALUE = /^[\x20-\x7e]{1,8192}$/;

export function isLoopbackUrl(url: string): boolean {
  return URL.canParse(url) && LOOPBACK.includes(new URL(url).hostname);
}

/** Reads the three settings about facilitators; each problem names the one to change. */
export function parseFacilitators(
  values: { FACILITATORS: string; FACILITATOR_HEADERS: string; FACILITATOR_AUTH: string },
  problems: string[],
): FacilitatorSettings {
  const facilitators = parseList(values.FACILITATORS).map(item =>
    item === EMBEDDED ? item : (facilitatorUrl('FACILITATORS', item, problems) ?? item),
  );
  if (new Set(facilitators).size < facilitators.length) problems.push('FACILITATORS names one of them twice');
  const byUrl = (setting: 'FACILITATOR_HEADERS' | 'FACILITATOR_AUTH') =>
    readByUrl(setting, values[setting], facilitators, problems);
  const facilitatorHeaders = Object.fromEntries(
    byUrl('FACILITATOR_HEADERS').map(([url, headers]) => [url, readHeaders(headers, problems)]),
  );
  const facilitatorAuth = Object.fromEntries(
    byUrl('FACILITATOR_AUTH').map(([url, file]) => [url, readModulePath(file, problems)]),
  );
  return { facilitators, facilitatorHeaders, facilitatorAuth };
}

/** A payment must not travel in the clear, and a URL must not hold a secret, because names are logged. */
function facilitatorUrl(setting: string, text: string, problems: string[]): string | undefined {
  if (!URL.canParse(text)) {
    problems.push(`${setting}: each facilitator is embedded or a URL`);
    return undefined;
  }
  const url = new URL(text);
  if (url.username || url.password || url.search || url.hash) {
    problems.push(
      `${setting}: a URL has no user, query or fragment; secrets belong into FACILITATOR_HEADERS`,
    );
    return undefined;
  }
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopbackUrl(text))) {
    problems.push(`${setting}: ${url.host} must be https (http is allowed on loopback only)`);
    return undefined;
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

function readByUrl(
  setting: 'FACILITATOR_HEADERS' | 'FACILITATOR_AUTH',
  text: string,
  facilitators: readonly string[],
  problems: string[],
): [string, unknown][] {
  if (text === '') return [];
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    problems.push(`${setting} must be a JSON object by facilitator URL`);
    return [];
  }
  return Object.entries(parsed).flatMap(([key, value]): [string, unknown][] => {
    const url = facilitatorUrl(setting, key, problems);
    if (url === undefined) return [];
    // Credentials that nobody uses are credentials for a misspelt name.
    if (!facilitators.includes(url)) problems.push(`${setting} names ${url}, which is not in FACILITATORS`);
    return [[url, value]];
  });
}

function readHeaders(value: unknown, problems: string[]): Record<string, string> {
  const entries = Object.entries(typeof value === 'object' && value !== null ? value : {});
  const valid = entries.filter(
    (entry): entry is [string, string] =>
      HEADER_NAME.test(entry[0]) &&
      !RESERVED_HEADERS.test(entry[0]) &&
      typeof entry[1] === 'string' &&
      HEADER_VALUE.test(entry[1]),
  );
  if (entries.length === 0 || valid.length < entries.length)
    problems.push('FACILITATOR_HEADERS must hold an object of header names and texts for each URL');
  return Object.fromEntries(valid);
}

function readModulePath(value: unknown, problems: string[]): string {
  const file = typeof value === 'string' ? path.resolve(value) : '';
  if (file === '' || !existsSync(file))
    problems.push('FACILITATOR_AUTH must name, for each URL, a module file that exists');
  return file;
}
