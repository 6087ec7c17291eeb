import type { Queryable } from '../db/queryable.ts';
import { REORGANISED } from '../payments/foreign-finality-store.ts';
import {
  claimForeignSettlements,
  expireForeignLeases,
  type ForeignSettlement,
  type NewForeignSettlement,
  noteForeignSettled,
  noteForeignSettlement,
} from '../payments/foreign-settlement.ts';
import type { Facilitator } from '../ports/facilitator.ts';
import type { Log } from '../ports/log.ts';
import type { ExactPayment } from '../ports/payment.ts';
import type { ForeignOutcome } from './foreign-settlements.ts';
import { createLanes } from './lanes.ts';
import { CONFIRMING, type Look, type Settlement } from './settlement.ts';

export interface ForeignFinishDeps {
  db: Queryable;
  /** Who settles on a network; a network that is not served any more is only looked at. */
  facilitatorOf(network: string): Facilitator | undefined;
  settlement: Settlement;
  log: Log;
  /** When a settled transfer is looked at again for the first time, in case a reorganisation undid it. */
  firstCheckMs: number;
}

/** A settlement that is to be brought to its end. */
export type OpenForeign = NewForeignSettlement & Pick<ForeignSettlement, 'transaction' | 'undone'>;

const CLAIM_LIMIT = 20;
const MAX_PER_LANE = 20;
/** Longer than the slowest work on one of them: two looks of ten seconds, the node's answers to one sending, and the watch. */
const CLAIM_LEASE_MS = 60_000;
/** How long one is watched in one round; it comes back in the next. */
const WATCH_MS = 2_000;

const UNDONE_FOR_GOOD =
  'ALARM: a seller was told that a payment is settled, a reorganisation has undone it, and it can not be settled again';

/** Brings payments to other sellers to their end, for the caller that waits and, later, for those who do not. */
export function createForeignFinish(deps: ForeignFinishDeps) {
  const { db, facilitatorOf, settlement, log, firstCheckMs } = deps;
  const lanes = createLanes(MAX_PER_LANE);

  /** Sends, or sends again, and looks until the chain decides or the wait is over. It never throws. */
  async function finish(stored: OpenForeign, waitMs: number): Promise<ForeignOutcome> {
    const { paymentId, signed, undone } = stored;
    let { transaction } = stored;
    try {
      const facilitator = facilitatorOf(signed.network);
      const result = await facilitator?.settle(paymentId, signed);
      const sent = result?.kind === 'submitted' ? result.transaction : undefined;
      transaction = sent ?? transaction;
      const own = await facilitator?.transactionsOf(paymentId, signed.network);
      const live = own?.live ?? [];
      transaction = sent ?? live[0] ?? transaction;
      const past = await lookAtPast(stored, own?.all ?? [], live);
      const look = past ?? (await settlement.awaitProof(stored, { transactions: live }, waitMs));
      return await book({ ...stored, transaction }, ofPayment(signed, look));
    } catch {
      return { kind: 'pending', transaction, undone };
    }
  }

  /** A transaction that another took the place of can still be the one that brought the money. */
  async function lookAtPast(
    stored: OpenForeign,
    all: readonly string[],
    live: readonly string[],
  ): Promise<Look | undefined> {
    const past = all.filter(transaction => !live.includes(transaction));
    if (past.length === 0) return undefined;
    const hint = { transactions: past, fromBlock: stored.fromBlock };
    const look = await settlement.look(settlement.networkOf(stored), stored, hint);
    return look?.kind === 'transferred' || look?.kind === 'confirming' ? look : undefined;
  }

  /** A permission that was not consumed stays good until it ends: somebody else can have sent it since. */
  async function lookAgain(stored: ForeignSettlement): Promise<ForeignOutcome | undefined> {
    const { signed, transaction, undone } = stored;
    const hint = { transactions: [], fromBlock: stored.fromBlock };
    const proof = ofPayment(signed, await settlement.look(settlement.networkOf(stored), stored, hint));
    if (proof?.kind === 'transferred') return book(stored, proof);
    if (proof?.kind === 'confirming')
      return { kind: 'pending', transaction: proof.transfer.transaction, undone };
    if (!proof) return { kind: 'pending', transaction, undone };
    const isOnItsWay = proof.kind === 'unknown' && proof.used;
    return isOnItsWay
      ? { kind: 'pending', transaction: proof.transaction ?? transaction, undone }
      : undefined;
  }

  async function book(stored: OpenForeign, proof: Look | undefined): Promise<ForeignOutcome> {
    const { paymentId, caller, transaction: sent, undone } = stored;
    if (proof?.kind === 'transferred') {
      await noteForeignSettled(db, paymentId, proof.transfer, { firstCheckMs });
      return { kind: 'settled', transaction: proof.transfer.transaction };
    }
    if (proof?.kind === 'impossible' || proof?.kind === 'reverted') {
      const reason = proof.kind === 'reverted' ? 'reverted' : proof.reason;
      const transaction = proof.transaction ?? sent;
      const failure = { state: 'failed', reason, ...(transaction ? { transaction } : {}) } as const;
      await noteForeignSettlement(db, paymentId, failure);
      if (undone) log.error({ paymentId, caller, reason, transaction }, UNDONE_FOR_GOOD);
      return { kind: 'failed', reason, transaction, undone };
    }
    // A transfer that is not deep enough yet tells where it is.
    const transaction = proof?.kind === 'confirming' ? proof.transfer.transaction : sent;
    const unproven = undone ? REORGANISED : 'unproven';
    const reason = proof?.kind === 'confirming' ? CONFIRMING : unproven;
    const progress = { state: 'settling', reason, ...(transaction ? { transaction } : {}) } as const;
    await noteForeignSettlement(db, paymentId, progress);
    return { kind: 'pending', transaction, undone };
  }

  return {
    finish,
    lookAgain,
    /** Takes on what is due. @returns the work on each, under way. */
    async takeDue(): Promise<Promise<void>[]> {
      const options = { limit: CLAIM_LIMIT, leaseMs: CLAIM_LEASE_MS, without: lanes.full() };
      const due = await claimForeignSettlements(db, options);
      return due.map(stored =>
        lanes.start(stored.signed.network, async () => void (await finish(stored, WATCH_MS))),
      );
    },
    expireLeases: () => expireForeignLeases(db),
    drained: lanes.drained,
  };
}

export type ForeignFinish = ReturnType<typeof createForeignFinish>;

/**
 * Whoever signs can sign two permissions of one name, over different amounts, and send the smaller one in between. The
 * seller is promised the amount that was shown, and only who is credited by the transfer itself may take another one.
 */
export function ofPayment(payment: ExactPayment, proof: Look | undefined): Look | undefined {
  if (proof?.kind !== 'transferred') return proof;
  const { transaction, amountBaseUnits } = proof.transfer;
  if (amountBaseUnits === payment.amountBaseUnits) return proof;
  return { kind: 'impossible', reason: 'used_elsewhere', transaction };
}
