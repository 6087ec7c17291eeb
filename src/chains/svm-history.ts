import { findMemos } from '../lib/svm-memo.ts';
import { readSvmTransaction, viewOf } from '../lib/svm-transaction.ts';
import type { SolanaPayment } from '../ports/payment.ts';
import type { SvmClient, SvmHistoryEntry } from '../ports/svm-client.ts';
import { LIST_LIMIT, listOlder, placeAfter } from './svm-listing.ts';

const MAX_PAGES = 3;

/** So many transactions of one account are read for one look, some at a time. */
const MAX_READ = 500;
const MAX_PARALLEL_READS = 25;

export interface HistorySearch {
  /** The transaction that carries the payment's message. */
  signature?: string;
  /** Whether everything since the first slot was looked at, so that nothing found means nothing there. */
  complete: boolean;
}

/**
 * Looks for a payment whose signature nobody told us among the transactions of the account it is paid from. Memos
 * are listed with the history, so a transaction whose memo is another one need not be read. One that is listed without
 * a memo must be: some nodes never list them.
 * @param range first slot of interest, and a slot that the answering node must have seen
 */
export async function findInHistory(
  client: SvmClient,
  payment: SolanaPayment,
  range: { fromSlot: bigint; seenSlot?: bigint },
): Promise<HistorySearch> {
  const own = viewOf(payment.transaction);
  const memos = own ? findMemos(own) : [];
  const { entries, complete } = await listEntries(client, payment.transaction.source, range);
  const listed = entries.filter(({ memo }) => memo !== undefined && memos.every(text => memo.includes(text)));
  const silent = entries.filter(({ memo }) => memo === undefined);
  const candidates = [...listed, ...silent].slice(0, MAX_READ);
  // What is listed and cannot be read may be the very transaction.
  let isAll = complete && candidates.length === listed.length + silent.length;
  for (let start = 0; start < candidates.length; start += MAX_PARALLEL_READS) {
    const part = candidates.slice(start, start + MAX_PARALLEL_READS);
    const executed = await Promise.all(part.map(({ signature }) => client.transaction(signature)));
    if (executed.includes(undefined)) isAll = false;
    const found = executed.findIndex(each => {
      const view = each && readSvmTransaction(each.wire);
      return view && payment.identity.endsWith(`:${view.messageHash}`);
    });
    const signature = part[found]?.signature;
    if (signature !== undefined) return { signature, complete: isAll };
  }
  return { complete: isAll };
}

/** The account's transactions from the newest back to the first slot of interest, as far as a look may go. */
async function listEntries(
  client: SvmClient,
  account: string,
  range: { fromSlot: bigint; seenSlot?: bigint },
): Promise<{ entries: SvmHistoryEntry[]; complete: boolean }> {
  const entries: SvmHistoryEntry[] = [];
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const listed = await listOlder(client, account, placeAfter(entries, undefined), range.seenSlot);
    const inRange = listed.filter(({ slot }) => slot >= range.fromSlot);
    entries.push(...inRange);
    // All but the first page begin with an entry of the one before, so a full one holds that many new ones.
    const full = page === 0 ? LIST_LIMIT : LIST_LIMIT - 1;
    if (inRange.length < listed.length || listed.length < full) return { entries, complete: true };
  }
  return { entries, complete: false };
}
