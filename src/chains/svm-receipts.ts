import { unavailable } from '../lib/errors.ts';
import { findTokenTransfer } from '../lib/svm-token.ts';
import { readSvmTransaction } from '../lib/svm-transaction.ts';
import type { ObservedTransfer } from '../ports/chain.ts';
import type { ReceiptScan } from '../ports/receipts.ts';
import type { SvmClient, SvmExecutedTransaction, SvmHistoryEntry } from '../ports/svm-client.ts';
import type { SvmNetwork } from './svm-networks.ts';
import { referenceOf, type SvmReceiver } from './svm-setup.ts';

const PAGE_SIZE = 1_000;
const MAX_PAGES = 100;

/** A node lists an account's transactions from the newest on, so one call reads all that is new at once. */
const RANGE_SLOTS = 1_000_000_000_000n;

/** Reads the USDC that arrived in the receiver's token account from that account's own history. */
export function createSvmReceipts(
  network: SvmNetwork,
  client: SvmClient,
  { payTo, tokenAccount }: SvmReceiver,
): ReceiptScan {
  const asset = network.usdc.address;

  async function listEntries(fromSlot: bigint, toSlot: bigint): Promise<SvmHistoryEntry[]> {
    const found: SvmHistoryEntry[] = [];
    let before: string | undefined;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const entries = await client.history(tokenAccount, {
        limit: PAGE_SIZE,
        ...(before === undefined ? {} : { before }),
      });
      found.push(...entries.filter(({ slot }) => slot >= fromSlot && slot <= toSlot));
      const last = entries.at(-1);
      if (entries.length < PAGE_SIZE || !last || last.slot < fromSlot) return found.toReversed();
      before = last.signature;
    }
    throw unavailable(`the ${network.title} node`, new Error('the history since the last look is too long'));
  }

  function toTransfer(signature: string, executed: SvmExecutedTransaction): ObservedTransfer | undefined {
    const amountIn = (balances: SvmExecutedTransaction['after']) =>
      balances.find(({ account, mint }) => account === tokenAccount && mint === asset)?.amountBaseUnits ?? 0n;
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
    rangeBlocks: RANGE_SLOTS,
    async heads() {
      const [newest, final] = await Promise.all([client.slot('confirmed'), client.slot('finalized')]);
      return { newest, final };
    },
    async list(fromBlock, toBlock) {
      const transfers: ObservedTransfer[] = [];
      for (const { signature } of await listEntries(fromBlock, toBlock)) {
        const executed = await client.transaction(signature);
        const transfer = executed && toTransfer(signature, executed);
        if (transfer) transfers.push(transfer);
      }
      return transfers;
    },
    async identify({ transaction }) {
      const executed = await client.transaction(transaction);
      const view = executed && readSvmTransaction(executed.wire);
      return view && `svm:${referenceOf(network)}:${view.messageHash}`;
    },
  };
}
