import { unavailable } from '../lib/errors.ts';
import { findTokenTransfer, TOKEN_PROGRAM } from '../lib/svm-token.ts';
import { readSvmTransaction, viewOf } from '../lib/svm-transaction.ts';
import type {
  Chain,
  ObservedTransfer,
  ProofHint,
  SettlementProof,
  Standing,
  TransferPlace,
} from '../ports/chain.ts';
import { type ExactPayment, requireKind, type SolanaPayment } from '../ports/payment.ts';
import type {
  SvmClient,
  SvmExecutedTransaction,
  SvmSignatureStatus,
  SvmTokenBalance,
} from '../ports/svm-client.ts';
import { findInHistory } from './svm-history.ts';
import type { SvmNetwork } from './svm-networks.ts';
import { checkSvmSetup, type SvmReceiver } from './svm-setup.ts';

const HEAD_MAX_AGE_MS = 1_000;

/**
 * A finalized block so far after a search's first one is younger than the payment's blockhash, whatever node was asked
 * when it was accepted: the search begins a few slots before a block that knew the blockhash. Only a block that is
 * younger can tell that the blockhash is dead; to an older one it is unknown in the same words.
 */
const EXPIRY_SLOTS = 350n;

/** A blockhash lives for 150 blocks, so the transaction can be in a block that long before it was shown to us; some slots have none. */
const LIFE_SLOTS = 300n;

/** A block with this many on top is finalized; the number the network itself uses. */
const FINALIZED_CONFIRMATIONS = 32;

/** One call of getSignatureStatuses takes 256; there must be room for one more. */
const MAX_STATUSES = 255;

const MAX_SLOT = 2n ** 64n - 1n;

/** How far back an older transaction is looked for, in a busy receiver's history. */
const WITNESS_PAGE_SIZE = 1_000;
const MAX_WITNESS_PAGES = 5;

/** A node that is so far ahead has heard of every block that was confirmed before. */
const SURELY_SEEN_SLOTS = 32n;

const NOT_SEEN: SettlementProof = { kind: 'unknown', used: false };

/**
 * Reads settlements of Solana payments. A payment is the hash of its message, so whoever sent it, and under
 * whatever signature a facilitator names, the transaction found must carry that very message.
 */
export function createSvmChain(network: SvmNetwork, client: SvmClient, receiver: SvmReceiver): Chain {
  let head = 0n;
  let headReadAtMs = Number.NEGATIVE_INFINITY;

  async function currentSlot(): Promise<bigint> {
    if (performance.now() - headReadAtMs >= HEAD_MAX_AGE_MS) {
      head = await client.slot('confirmed');
      headReadAtMs = performance.now();
    }
    return head;
  }

  /** A node that does not know the blockhash has fallen behind, or it is dead: then nothing is accepted. */
  async function slotThatKnows(given: ExactPayment): Promise<bigint> {
    const { blockhash } = requireKind(given, 'solana').transaction;
    const { slot, valid } = await client.isBlockhashValid(blockhash, 'confirmed');
    if (!valid) throw unavailable(`a ${network.title} node that knows the blockhash of the payment`);
    return slot;
  }

  async function proveSettlement(given: ExactPayment, hint: ProofHint): Promise<SettlementProof> {
    const payment = requireKind(given, 'solana');
    const { transactions, signed, reported = [], fromBlock } = hint;
    const isOld = (await currentSlot()) >= fromBlock + EXPIRY_SLOTS;
    const proof =
      (await readNamed(payment, transactions, isOld, signed)) ??
      (await readReported(payment, reported, isOld));
    if (proof) return proof;
    // While our own transaction waits for a block its status will tell; searching would only cost calls.
    if (transactions.length > 0 && !isOld) return NOT_SEEN;
    const { signature } = await findInHistory(client, payment, { fromSlot: fromBlock - LIFE_SLOTS });
    const found = signature === undefined ? undefined : await readNamed(payment, [signature], isOld);
    if (found) return found;
    return isOld ? proveExpiry(payment, hint) : NOT_SEEN;
  }

  /**
   * What the named transactions prove; those that were never executed or carry another message prove nothing.
   * @param signed one that surely carries the payment's own
   */
  async function readNamed(
    payment: SolanaPayment,
    signatures: readonly string[],
    searchHistory: boolean,
    signed?: string,
  ): Promise<SettlementProof | undefined> {
    if (signatures.length === 0) return undefined;
    const { statuses } = await client.signatureStatuses(signatures, searchHistory);
    for (const [index, signature] of signatures.entries()) {
      const status = statuses[index];
      if (!status) continue;
      if (status.commitment === 'processed') return inProgress(signature);
      const whole = signature === signed ? judgeWhole(payment, signature, status) : undefined;
      if (whole) return whole;
      const executed = await client.transaction(signature);
      if (!executed) return inProgress(signature);
      const proof = judge(payment, signature, status, executed);
      if (proof) return proof;
    }
    return undefined;
  }

  /**
   * As {@link readNamed}, for what somebody else named: a short way to the transfer and nothing more. It may be
   * replaced, made up or no signature at all, so nothing but a proof keeps the payment from being searched.
   */
  async function readReported(
    payment: SolanaPayment,
    signatures: readonly string[],
    searchHistory: boolean,
  ): Promise<SettlementProof | undefined> {
    for (const signature of signatures) {
      const proof = await readNamed(payment, [signature], searchHistory).catch(() => undefined);
      if (proof && proof.kind !== 'unknown') return proof;
    }
    return undefined;
  }

  /**
   * Proof that the transaction will never be in a block: the blockhash is dead at a finalized block that is
   * surely younger than it, and that node's whole record up to there does not hold the transaction.
   */
  async function proveExpiry(
    payment: SolanaPayment,
    { transactions, reported = [], fromBlock }: ProofHint,
  ): Promise<SettlementProof> {
    const { slot, valid } = await client.isBlockhashValid(payment.transaction.blockhash, 'finalized');
    if (valid || slot < fromBlock + EXPIRY_SLOTS) return NOT_SEEN;
    const fromSlot = fromBlock - LIFE_SLOTS;
    if ((await client.firstAvailableSlot()) > fromSlot) return NOT_SEEN;
    const search = await findInHistory(client, payment, { fromSlot, seenSlot: slot });
    if (search.signature !== undefined || !search.complete) return NOT_SEEN;
    if (transactions.length > 0) {
      const looked = await client.signatureStatuses(transactions, true);
      if (looked.slot < slot || (await readNamed(payment, transactions, true))) return NOT_SEEN;
    }
    if (await readReported(payment, reported, true)) return NOT_SEEN;
    return { kind: 'impossible', reason: 'expired' };
  }

  /**
   * What the success of the payment's own transaction proves without reading it: all of its instructions have been done, and
   * a `TransferChecked` of the first token program moves just what it says. Not so for Token-2022, where the mint may keep
   * a fee, and for an account that pays itself: there the balances have to be read. And a node tells the outcome on the fork
   * that it works on, and "confirmed" of the name alone: they belong together only where the votes are for that very block.
   */
  function judgeWhole(
    payment: SolanaPayment,
    signature: string,
    status: SvmSignatureStatus,
  ): SettlementProof | undefined {
    const view = viewOf(payment.transaction);
    const moved = view && findTokenTransfer(view);
    const isWhole =
      status.succeeded &&
      isVotedFor(status) &&
      payment.identity.endsWith(`:${view?.messageHash}`) &&
      moved?.program === TOKEN_PROGRAM &&
      moved.mint === payment.asset &&
      moved.destination === payment.transaction.destination &&
      moved.destination !== moved.source &&
      moved.amountBaseUnits === payment.amountBaseUnits;
    if (!isWhole) return undefined;
    const place = { signature, slot: status.slot, index: moved.index };
    const transfer = transferOf(payment, place, moved.amountBaseUnits);
    return { kind: 'transferred', transfer, confirmations: confirmationsOf(status) };
  }

  function judge(
    payment: SolanaPayment,
    signature: string,
    status: SvmSignatureStatus,
    executed: SvmExecutedTransaction,
  ): SettlementProof | undefined {
    const view = readSvmTransaction(executed.wire);
    if (!view || !payment.identity.endsWith(`:${view.messageHash}`)) return undefined;
    if (!executed.succeeded) {
      // A fork may still bring it back to life until its block is finalized.
      if (status.commitment !== 'finalized') return inProgress(signature);
      return { kind: 'impossible', reason: 'failed_on_chain', transaction: signature };
    }
    const place = { signature, slot: executed.slot, index: findTokenTransfer(view)?.index ?? 0 };
    const transfer = transferOf(payment, place, receivedAmount(payment, executed));
    // An execution without the money cannot be: the instruction either transfers or fails.
    if (transfer.amountBaseUnits <= 0n) return inProgress(signature);
    return { kind: 'transferred', transfer, confirmations: confirmationsOf(status) };
  }

  /** A signature that the network forgot, or that is in another block now, was in a block that is gone. */
  async function standing(places: readonly TransferPlace[]): Promise<Standing[]> {
    const standings: Standing[] = [];
    for (let start = 0; start < places.length; start += MAX_STATUSES) {
      const part = places.slice(start, start + MAX_STATUSES);
      const signatures = part.map(({ transaction }) => transaction);
      const { statuses } = await client.signatureStatuses(signatures, true);
      const silent = part.filter((_, index) => !statuses[index]);
      const gone = silent.length > 0 ? await findGone(silent) : new Set();
      part.forEach((place, index) => {
        const status = statuses[index];
        const unseen = gone.has(place.transaction) ? 'moved' : 'unknown';
        standings.push(status ? standingOf(place, status) : unseen);
      });
    }
    return standings;
  }

  /**
   * Which transactions the network holds no more. A node that was set up anew knows nothing of what was before, and
   * behind one URL there can be many nodes, so in the same question it is asked for an older transaction that is final:
   * only the silence of a node that knows that witness means anything.
   */
  async function findGone(places: readonly TransferPlace[]): Promise<ReadonlySet<string>> {
    const oldest = places.reduce(
      (least, { blockNumber }) => (blockNumber < least ? blockNumber : least),
      MAX_SLOT,
    );
    const witness = await findOlder(oldest);
    if (witness === undefined) return new Set();
    const signatures = [witness, ...places.map(({ transaction }) => transaction)];
    const { slot, statuses } = await client.signatureStatuses(signatures, true);
    if (statuses[0]?.commitment !== 'finalized') return new Set();
    // The node may simply not have got there yet.
    const isSeen = ({ blockNumber }: TransferPlace) => slot >= blockNumber + SURELY_SEEN_SLOTS;
    const gone = places.filter((place, index) => !statuses[index + 1] && isSeen(place));
    return new Set(gone.map(({ transaction }) => transaction));
  }

  /** A transaction to the receiver in an older block; there is always one, because its account had to be made. */
  async function findOlder(slot: bigint): Promise<string | undefined> {
    let before: string | undefined;
    for (let page = 0; page < MAX_WITNESS_PAGES; page += 1) {
      const limit = WITNESS_PAGE_SIZE;
      const entries = await client.history(
        receiver.tokenAccount,
        before === undefined ? { limit } : { limit, before },
      );
      const older = entries.find(entry => entry.slot < slot);
      if (older || entries.length < limit) return older?.signature;
      before = entries.at(-1)?.signature;
    }
    return undefined;
  }

  return {
    network: network.network,
    proveSettlement,
    standing,
    currentBlock: payment => (payment ? slotThatKnows(payment) : currentSlot()),
    earliestSettlementBlock: slot => (slot > network.lookbackSlots ? slot - network.lookbackSlots : 0n),
    checkSetup: () => checkSvmSetup(network, client, receiver),
  };
}

function transferOf(
  { network, asset, payer, payTo }: SolanaPayment,
  { signature, slot, index }: { signature: string; slot: bigint; index: number },
  amountBaseUnits: bigint,
): ObservedTransfer {
  return {
    network,
    transaction: signature,
    logIndex: index,
    blockNumber: slot,
    blockHash: '',
    asset,
    from: payer,
    to: payTo,
    amountBaseUnits,
  };
}

function standingOf(place: TransferPlace, status: SvmSignatureStatus): Standing {
  if (!status.succeeded || status.slot !== place.blockNumber) return 'moved';
  if (status.commitment === 'processed') return 'unknown';
  return status.commitment === 'finalized' ? 'final' : 'standing';
}

/** What the receiver's token account gained: with fees on transfer less than what was sent. */
function receivedAmount(payment: SolanaPayment, { before, after }: SvmExecutedTransaction): bigint {
  const isReceiver = ({ account, mint, owner }: SvmTokenBalance) =>
    account === payment.transaction.destination && mint === payment.asset && owner === payment.payTo;
  const amountIn = (balances: readonly SvmTokenBalance[]) => balances.find(isReceiver)?.amountBaseUnits ?? 0n;
  return amountIn(after) - amountIn(before);
}

/** Whether two thirds of the stake have voted for the block in which the node has seen the transaction. */
function isVotedFor({ commitment, confirmations = 0 }: SvmSignatureStatus): boolean {
  return commitment === 'finalized' || (commitment === 'confirmed' && confirmations > 0);
}

/** The transfer's own block counts as one, as everywhere; a confirmed block without any on top is one. */
function confirmationsOf({ commitment, confirmations = 0 }: SvmSignatureStatus): number {
  if (commitment === 'finalized') return FINALIZED_CONFIRMATIONS;
  return Math.min(confirmations + 1, FINALIZED_CONFIRMATIONS - 1);
}

/** It was found and is too young to prove anything. */
function inProgress(transaction: string): SettlementProof {
  return { kind: 'unknown', used: true, transaction };
}
