import { findMemos } from '../lib/svm-memo.ts';
import { readSvmTransaction } from '../lib/svm-transaction.ts';
import type { SolanaPayment } from '../ports/payment.ts';
import type { SvmClient, SvmHistoryEntry } from '../ports/svm-client.ts';

const PAGE_SIZE = 1_000;
const MAX_PAGES = 3;
const MAX_READ = 50;

export interface HistorySearch {
  /** The transaction that carries the payment's message. */
  signature?: string;
  /** Whether everything since the first slot was looked at, so that nothing found means nothing there. */
  complete: boolean;
}

/**
 * Looks for a payment whose signature nobody told us among the transactions of the account it is paid from.
 * Memos are listed with the history, so only transactions that carry the payment's are read.
 * @param range first slot of interest, and a slot that the answering node must have seen
 */
export async function findInHistory(
  client: SvmClient,
  payment: SolanaPayment,
  range: { fromSlot: bigint; seenSlot?: bigint },
): Promise<HistorySearch> {
  const own = readSvmTransaction(Buffer.from(payment.transaction.wire, 'base64'));
  const memos = own ? findMemos(own) : [];
  const mayBeOurs = ({ memo }: SvmHistoryEntry) => memos.every(text => memo.includes(text));
  let before: string | undefined;
  let read = 0;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const entries = await client.history(payment.transaction.source, {
      limit: PAGE_SIZE,
      ...(before === undefined ? {} : { before }),
      ...(range.seenSlot === undefined ? {} : { minSlot: range.seenSlot }),
    });
    for (const entry of entries) {
      if (entry.slot < range.fromSlot) return { complete: true };
      if (!mayBeOurs(entry)) continue;
      read += 1;
      if (read > MAX_READ) return { complete: false };
      const executed = await client.transaction(entry.signature);
      const view = executed && readSvmTransaction(executed.wire);
      if (view && payment.identity.endsWith(`:${view.messageHash}`)) {
        return { signature: entry.signature, complete: true };
      }
    }
    before = entries.at(-1)?.signature;
    if (entries.length < PAGE_SIZE) return { complete: true };
  }
  return { complete: false };
}
