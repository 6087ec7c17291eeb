import { newMemo } from '../lib/svm-memo.ts';
import type { ExactOption } from './x402-option.ts';

/**
 * The `extra` of a requirement that is about to be offered. On Solana two payments of one wallet with the same
 * amount in the same moment would be the same transaction, so each offer carries a memo of its own.
 */
export function offerExtra(
  option: Pick<ExactOption, 'solana'> & { extra: Readonly<Record<string, string>> },
): Record<string, string> {
  return option.solana ? { ...option.extra, memo: newMemo() } : { ...option.extra };
}
