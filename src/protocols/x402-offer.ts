import { unavailable } from '../lib/errors.ts';
import { newMemo } from '../lib/svm-memo.ts';

/** What an offer must know of a way to pay. */
interface OfferedOption {
  extra: Readonly<Record<string, string>>;
  /** Solana's payments name who pays the fee. */
  solana?: { feePayer: () => string | undefined };
}

/** The ways to pay that can be offered now: on Solana somebody must be there who pays the fee. */
export function offeredNow<T extends OfferedOption>(options: readonly T[]): T[] {
  return options.filter(({ solana }) => !solana || solana.feePayer() !== undefined);
}

/**
 * The `extra` of a requirement that is about to be offered. On Solana two payments of one wallet with the same
 * amount in the same moment would be the same transaction, so each offer carries a memo of its own.
 */
export function offerExtra({ extra, solana }: OfferedOption): Record<string, string> {
  const feePayer = solana?.feePayer();
  if (feePayer === undefined) return { ...extra };
  return { ...extra, feePayer, memo: newMemo() };
}

/**
 * As {@link offeredNow}, for an answer that clients pay: a 402 without any entry is no offer, and they give up on it.
 * @throws GatewayError `unavailable` while nothing can be offered
 */
export function requireOffered<T extends OfferedOption>(options: readonly T[]): [T, ...T[]] {
  const [first, ...others] = offeredNow(options);
  if (!first) throw unavailable('a facilitator that pays the fee of payments');
  return [first, ...others];
}
