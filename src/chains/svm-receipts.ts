import { unavailable } from '../lib/errors.ts';
import { findTokenTransfer } from '../lib/svm-token.ts';
import { readSvmTransaction } from '../lib/svm-transaction.ts';
import type { ObservedTransfer } from '../ports/chain.ts';
import type { BackwardScan } from '../ports/receipts.ts';
import type {
  SvmClient,
  SvmExecutedTransaction,
  SvmHistoryEntry,
  SvmTokenBalance,
} from '../ports/svm-client.ts';
import { type ListPlace, listOlder, placeAfter, readPlace, writePlace } from './svm-listing.ts';
import type { SvmNetwork } from './svm-networks.ts';
import { referenceOf, type SvmReceiver } from './svm-setup.ts';

const MAX_PARALLEL_READS = 25;

/** A page ends between two slots; so many pages of one slot are read for that. */
const MAX_PAGES_OF_A_SLOT = 20;

/** Reads the USDC that arrived in the receiver's token account from that account's own history. */
export function createSvmReceipts(
  network: SvmNetwork,
  client: SvmClient,
  { payTo, tokenAccount }: SvmReceiver,
): BackwardScan {
  const asset = network.usdc.address;
  const missing = (what: string) => unavailable(`the ${network.title} node`, new Error(what));

  /** Entries of whole slots, newest first. @returns undefined for `next` at the end of the history */
  async function listWholeSlots(
    start: ListPlace | undefined,
    seen: bigint,
  ): Promise<{ entries: SvmHistoryEntry[]; next: ListPlace | undefined }> {
    const entries: SvmHistoryEntry[] = [];
    for (let page = 0; page < MAX_PAGES_OF_A_SLOT; page += 1) {
      const listed = await listOlder(client, tokenAccount, placeAfter(entries, start), seen);
      // A page that is not full may be a node's own limit; only an empty one is the end.
      if (listed.length === 0) return { entries, next: undefined };
      entries.push(...listed);
      // The oldest slot may go on in the next page, so it is left to that.
      const oldest = listed.at(-1)?.slot;
      const whole = entries.filter(({ slot }) => slot !== oldest);
      if (whole.length > 0) return { entries: whole, next: placeAfter(whole, start) };
    }
    throw missing('too many transactions in one slot');
  }

  async function readAll(entries: readonly SvmHistoryEntry[]): Promise<ObservedTransfer[]> {
    const transfers: ObservedTransfer[] = [];
    for (let start = 0; start < entries.length; start += MAX_PARALLEL_READS) {
      const part = entries.slice(start, start + MAX_PARALLEL_READS);
      const executed = await Promise.all(part.map(({ signature }) => client.transaction(signature)));
      for (const [index, each] of executed.entries()) {
        // Passed over in silence its money would never be noticed.
        if (!each) throw missing('a transaction of the history is missing');
        const transfer = toTransfer(part[index]?.signature ?? '', each);
        if (transfer) transfers.push(transfer);
      }
    }
    return transfers;
  }

  /** A token account can be given away; what comes to it then is not ours. */
  const isOurs = ({ account, mint, owner }: SvmTokenBalance) =>
    account === tokenAccount && mint === asset && owner === payTo;

  function toTransfer(signature: string, executed: SvmExecutedTransaction): ObservedTransfer | undefined {
    const amountIn = (balances: SvmExecutedTransaction['after']) =>
      balances.find(isOurs)?.amountBaseUnits ?? 0n;
    const amountBaseUnits = amountIn(executed.after) - amountIn(executed.before);
    if (!executed.succeeded || amountBaseUnits <= 0n) return undefined;
    const view = readSvmTransaction(executed.wire);
    const transfer = view && findTokenTransfer(view);
    return {
      network: network.network,
      transaction: signature,
      logIndex: transfer?.index ?? 0,
      blockNumber: executed.slot,
      blockHash: '',
      asset,
      // What another program moved has no payer that the message names.
      from: transfer?.authority ?? '',
      to: payTo,
      amountBaseUnits,
    };
  }

  return {
    network: network.network,
    asset,
    payTo,
    async heads() {
      const [newest, final] = await Promise.all([client.slot('confirmed'), client.slot('finalized')]);
      return { newest, final };
    },
    async pageBack({ fromBlock, toBlock, next: given, seen }) {
      const start = given === undefined ? undefined : readPlace(given);
      const { entries, next } = await listWholeSlots(start, seen);
      const inRange = entries.filter(({ slot }) => slot >= fromBlock && slot <= toBlock);
      const transfers = await readAll(inRange.toReversed());
      const oldest = entries.at(-1)?.slot ?? 0n;
      // The list ends where the node's record does, or where the account was made.
      if (next === undefined && (await client.firstAvailableSlot()) > fromBlock) {
        throw missing('its record begins after what is to be compared');
      }
      if (next === undefined || oldest <= fromBlock) return { transfers, fromBlock, next: undefined };
      return { transfers, fromBlock: oldest, next: writePlace(next) };
    },
    async identify({ transaction }) {
      const executed = await client.transaction(transaction);
      const view = executed && readSvmTransaction(executed.wire);
      return view && `svm:${referenceOf(network)}:${view.messageHash}`;
    },
  };
}
