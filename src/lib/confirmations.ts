import { parseUsd } from './money.ts';

/**
 * How deep a transfer must be before it is credited: a number of blocks, its own included, or `final`, when
 * the network itself says that it cannot be undone (EVM: the safe block; Solana: finalized).
 */
export type Depth = number | 'final';

/** Which depth is asked for amounts from `fromNanoUsd` on. */
export interface DepthRule {
  fromNanoUsd: bigint;
  depth: Depth;
}

const MAX_BLOCKS = 1_000;

/** The depth for an amount: of the rules that reach down to it, the one for the largest amount. */
export function depthFor(rules: readonly DepthRule[], amountNanoUsd: bigint): Depth {
  let found: DepthRule | undefined;
  for (const rule of rules) {
    if (rule.fromNanoUsd <= amountNanoUsd && (!found || rule.fromNanoUsd >= found.fromNanoUsd)) found = rule;
  }
  return found?.depth ?? 'final';
}

/**
 * Reads rules as a setting gives them: an object from dollar amounts to depths, with an entry for "0".
 * @returns undefined when it is anything else.
 */
export function readDepthRules(value: unknown): DepthRule[] | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const rules: DepthRule[] = [];
  for (const [usd, depth] of Object.entries(value)) {
    const fromNanoUsd = parseUsd(usd);
    const isDepth = depth === 'final' || (Number.isInteger(depth) && depth >= 1 && depth <= MAX_BLOCKS);
    if (fromNanoUsd === undefined || !isDepth) return undefined;
    rules.push({ fromNanoUsd, depth: depth as Depth });
  }
  return rules.some(rule => rule.fromNanoUsd === 0n) ? rules : undefined;
}
