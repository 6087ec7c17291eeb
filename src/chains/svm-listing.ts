import { unavailable } from '../lib/errors.ts';
import type { SvmClient, SvmHistoryEntry } from '../ports/svm-client.ts';

/** How many one call of getSignaturesForAddress may list. */
export const LIST_LIMIT = 1_000;

/** Where the list of an account's transactions goes on: after `last`, the oldest one so far. */
export interface ListPlace {
  /** The one listed before it; undefined when there was none. */
  before: string | undefined;
  last: string;
}

/**
 * The transactions of an account that are older than a place, newest first; from the newest on without one. To a node that
 * does not know the place nothing is older, and it says so in the same words as at the end of the history. So each answer
 * has to begin with what is known already.
 * @param minSlot a node that has not seen it is unavailable
 */
export async function listOlder(
  client: SvmClient,
  account: string,
  place: ListPlace | undefined,
  minSlot: bigint | undefined,
): Promise<SvmHistoryEntry[]> {
  const listed = await client.history(account, {
    limit: LIST_LIMIT,
    ...(place?.before === undefined ? {} : { before: place.before }),
    ...(minSlot === undefined ? {} : { minSlot }),
  });
  if (!place) return listed;
  const known = listed.findIndex(({ signature }) => signature === place.last);
  if (known < 0) throw unavailable('a Solana node that knows the history');
  return listed.slice(known + 1);
}

/** The place after these entries, which were listed at the given one. */
export function placeAfter(
  entries: readonly SvmHistoryEntry[],
  place: ListPlace | undefined,
): ListPlace | undefined {
  const last = entries.at(-1)?.signature;
  if (last === undefined) return place;
  return { before: entries.at(-2)?.signature ?? place?.last, last };
}

/** As it is stored. */
export const writePlace = ({ before = '', last }: ListPlace): string => `${before} ${last}`;

export function readPlace(text: string): ListPlace {
  const [before = '', last = ''] = text.split(' ');
  return { before: before === '' ? undefined : before, last };
}
