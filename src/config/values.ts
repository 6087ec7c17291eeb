import { isIP } from 'node:net';
import { type CellName, DEFAULT_CELL, isCellName } from '../lib/cell-name.ts';
import { type DepthRule, readDepthRules } from '../lib/confirmations.ts';
import { formatUsd } from '../lib/money.ts';

/** Items of a comma-separated list. */
export function parseList(text: string): string[] {
  return text
    .split(',')
    .map(item => item.trim())
    .filter(item => item !== '');
}

/** Cells in the order of their list; never none. */
export function parseCells(text: string, problems: string[]): readonly [CellName, ...CellName[]] {
  const [first, ...others] = [...new Set(parseList(text))].filter((name): name is CellName => {
    if (!isCellName(name)) problems.push(`CELLS: ${name} cannot be the name of a cell`);
    return isCellName(name);
  });
  if (first) return [first, ...others];
  problems.push('CELLS must name at least one cell');
  return [DEFAULT_CELL];
}

/** An origin without a trailing slash; empty when there is none. */
export function parseOrigin(text: string, problems: string[]): string {
  if (text === '') return '';
  if (
    !URL.canParse(text) ||
    !/^https?:$/.test(new URL(text).protocol) ||
    new URL(text).origin !== text.replace(/\/$/, '')
  ) {
    problems.push('PUBLIC_ORIGIN must be scheme, host and port alone, e.g. https://pay.example.com');
    return '';
  }
  return new URL(text).origin;
}

/** Order of secp256k1's group: a key is a number from 1 to one less. */
const CURVE_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

/** True for 0x and 64 hex digits that are a key of the curve. */
export function isEvmPrivateKey(text: string): boolean {
  return /^0x[0-9a-fA-F]{64}$/.test(text) && BigInt(text) > 0n && BigInt(text) < CURVE_ORDER;
}

/** Believing every proxy would let a caller choose the address that its rate limit counts. */
export function parseTrustProxy(text: string, problems: string[]): false | string[] {
  if (text === 'off') return false;
  const ranges = parseList(text);
  const valid = ranges.every(range => {
    const [address = '', bits] = range.split('/');
    const size = isIP(address) === 4 ? 32 : 128;
    return isIP(address) !== 0 && (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= size));
  });
  if (ranges.length === 0 || !valid) problems.push("TRUST_PROXY must be 'off' or a list of CIDRs");
  return ranges;
}

/** Rules by network; an amount that a rule does not reach down to would wait for nothing, so each needs a "0". */
export function parseConfirmations(text: string, problems: string[]): Record<string, readonly DepthRule[]> {
  if (text === '') return {};
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch {
    given = undefined;
  }
  const entries = typeof given === 'object' && given !== null ? Object.entries(given) : [];
  const rules = entries.map(([network, value]) => [network, readDepthRules(value)] as const);
  if (rules.length === 0 || rules.some(([network, rule]) => !network.includes(':') || rule === undefined)) {
    problems.push(
      'CONFIRMATIONS must be JSON like {"eip155:8453":{"0":1,"1000":10,"10000":"final"}}, each network with a "0"',
    );
    return {};
  }
  return Object.fromEntries(rules.map(([network, rule]) => [network, rule ?? []]));
}

/** The rules as the setting writes them. */
export function describeConfirmations(
  rules: Readonly<Record<string, readonly DepthRule[]>>,
): Record<string, Record<string, unknown>> {
  const write = (list: readonly DepthRule[]) =>
    Object.fromEntries(list.map(({ fromNanoUsd, depth }) => [formatUsd(fromNanoUsd), depth]));
  return Object.fromEntries(Object.entries(rules).map(([network, list]) => [network, write(list)]));
}
