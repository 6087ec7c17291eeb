import type { Pool } from 'pg';
import { asGatewayError } from '../db/pg-errors.ts';
import type { CellName } from '../db/queryable.ts';
import { withTransaction } from '../db/transaction.ts';
import { assert } from '../lib/assert.ts';
import type { Clock } from '../lib/clock.ts';
import { type DepthRule, depthFor } from '../lib/confirmations.ts';
import { sleep, withDeadline } from '../lib/deadline.ts';
import { baseUnitsToNano } from '../lib/money.ts';
import { type Payment, REFUSED } from '../payments/payment.ts';
import { type Credit, creditPayments, type NewCredit } from '../payments/payment-credit.ts';
import type { PaymentStatements } from '../payments/payment-statements.ts';
import { extendPurposeResult, failPayment, keepClaim, notePending } from '../payments/payment-store.ts';
import type { PurposeEffect } from '../payments/purpose-effect.ts';
import type { Chain, ObservedTransfer, ProofHint, SettlementProof } from '../ports/chain.ts';
import type { Facilitators, SettleResult } from '../ports/facilitator.ts';
import type { Log } from '../ports/log.ts';
import type { TopupOutcome } from './types.ts';

/** Everything the core knows about one network it takes money on. */
export interface SettlementNetwork {
  chain: Chain;
  facilitators: Facilitators;
  /** Throws `unavailable` until the node has proved once that it serves this network and this token. */
  ready(): Promise<void>;
  assetDecimals: number;
  /** How deep a transfer must be before it is credited, by its amount. */
  confirmations: readonly DepthRule[];
  /** Longest pause between two looks at the chain while somebody waits. */
  pollMs: number;
  /** The chart's code of receipts on this network. */
  contra: number;
}

export interface SettlementDeps {
  db: Pool;
  statements: Pick<PaymentStatements, 'credit'>;
  networks: ReadonlyMap<string, SettlementNetwork>;
  /** Takes a facilitator out of use that claimed a settlement which the chain disproves. */
  distrust(facilitator: string, mark: { paymentId: string; reason: string }): Promise<void>;
  /** By the kind of purpose. */
  purposeEffects: Readonly<Record<string, PurposeEffect>>;
  clock: Clock;
  log: Log;
  /** When a credited transfer is looked at again for the first time, in case a reorganisation undid it. */
  firstCheckMs: number;
  /** How long a facilitator's word that the money moved is believed while the chain shows nothing. */
  doubtAfterMs: number;
}

/** An open payment that is to be brought to its end. */
export type OpenPayment = Pick<
  Payment,
  | 'paymentId'
  | 'accountId'
  | 'environment'
  | 'signed'
  | 'fromBlock'
  | 'facilitator'
  | 'saidSettled'
  | 'doubt'
  | 'purpose'
> & { cell: CellName };

/** What has to be known of a payment to look for it on its chain. */
export type ProvablePayment = Pick<Payment, 'paymentId' | 'signed' | 'fromBlock'>;

/** Where a payment's transfer may be found: our own transactions, and those that a facilitator named. */
export type Trace = Pick<ProofHint, 'transactions' | 'reported' | 'signed'>;

/** What one look at the chain says. confirming: the transfer is there, and not yet deep enough for its amount. */
export type Look = SettlementProof | { kind: 'confirming'; transfer: ObservedTransfer };

/** What a payment says of itself while its transfer is not deep enough. */
export const CONFIRMING = 'confirming';

const FIRST_POLL_MS = 20;

/** A transfer that is on its way needs time and no effort. */
const CONFIRMING_PAUSE_MS = 10_000;

/** One look at the chain is a few calls; a node that takes longer has not answered. */
const LOOK_TIMEOUT_MS = 10_000;

/** After a permission's end, when the chain must have made a safe block past it. */
const RECHECK_MARGIN_MS = 600_000;

/** What a caller that has to come back is told. */
export const RETRY_AFTER_SECONDS = 3;

/** Waits for the chain's word on payments and books it. Shared by requests and the reconciler. */
export function createSettlement({
  db,
  statements,
  networks,
  distrust,
  purposeEffects,
  clock,
  log,
  firstCheckMs,
  doubtAfterMs,
}: SettlementDeps) {
  /**
   * Looks at the chain until it decides or `waitMs` is over, then books what is known: credited, failed or
   * pending. It never throws: what it can not tell is pending, and the reconciler goes on.
   */
  async function conclude(payment: OpenPayment, trace: Trace, waitMs: number): Promise<TopupOutcome> {
    const { paymentId, cell, saidSettled } = payment;
    const [transaction] = [...trace.transactions, ...(trace.reported ?? [])];
    const startedMs = performance.now();
    try {
      const proof = await awaitProof(payment, trace, waitMs);
      if (proof?.kind === 'confirming') return await noteConfirming(payment, proof.transfer);
      if (proof?.kind === 'transferred') return await credit(payment, proof.transfer, false);
      if (proof?.kind === 'impossible') return await fail(payment, proof);
      if (proof?.kind === 'reverted') return await fail(payment, { ...proof, reason: 'reverted' });
      await notePending(db, cell, paymentId, {
        reason: 'unproven',
        saidSettled,
        saidForMs: performance.now() - startedMs,
        doubtAfterMs,
        ...(transaction ? { transaction } : {}),
        ...(proof ? { seen: proof.used } : {}),
      });
    } catch (error) {
      log.error({ paymentId, err: asGatewayError(error) }, 'payment is left to the reconciler');
    }
    return { kind: 'pending', paymentId, transaction, retryAfterSeconds: RETRY_AFTER_SECONDS };
  }

  async function noteConfirming(
    { paymentId, cell }: OpenPayment,
    { transaction }: ObservedTransfer,
  ): Promise<TopupOutcome> {
    const progress = {
      reason: CONFIRMING,
      transaction,
      pauseMs: CONFIRMING_PAUSE_MS,
      seen: true,
      doubtAfterMs,
    };
    await notePending(db, cell, paymentId, progress);
    return { kind: 'pending', paymentId, transaction, retryAfterSeconds: RETRY_AFTER_SECONDS };
  }

  /** @returns the last look when nothing is decided in time; undefined when the chain could not be read then */
  async function awaitProof(
    payment: ProvablePayment & { saidSettled?: boolean },
    trace: Trace,
    waitMs: number,
  ): Promise<Look | undefined> {
    const network = networkOf(payment);
    const { fromBlock, saidSettled = false } = payment;
    const hint = { ...trace, fromBlock, saidSettled };
    const deadlineMs = performance.now() + waitMs;
    for (let pauseMs = FIRST_POLL_MS; ; pauseMs = Math.min(pauseMs * 2, network.pollMs)) {
      const proof = await look(network, payment, hint);
      if (proof && proof.kind !== 'unknown' && proof.kind !== 'confirming') return proof;
      if (performance.now() + pauseMs > deadlineMs) return proof;
      await sleep(pauseMs);
    }
  }

  /** One look; a node that does not answer has said nothing. */
  async function look(
    network: SettlementNetwork,
    payment: ProvablePayment,
    hint: ProofHint,
  ): Promise<Look | undefined> {
    try {
      return await withDeadline('proof of a payment', LOOK_TIMEOUT_MS, readProof(network, payment, hint));
    } catch (error) {
      log.warn({ paymentId: payment.paymentId, err: error }, 'the chain could not be read');
      return undefined;
    }
  }

  async function readProof(
    network: SettlementNetwork,
    { signed }: ProvablePayment,
    hint: ProofHint,
  ): Promise<Look> {
    const amount = baseUnitsToNano(signed.amountBaseUnits, network.assetDecimals);
    const depth = depthFor(network.confirmations, amount);
    const confirmations = depth === 'final' ? 1 : depth;
    const proof = await network.chain.proveSettlement(signed, { ...hint, confirmations });
    if (proof.kind !== 'transferred') return proof;
    const { transfer } = proof;
    const deepEnough =
      depth === 'final'
        ? (await network.chain.standing([transfer]))[0] === 'final'
        : proof.confirmations >= confirmations;
    return deepEnough ? proof : { kind: 'confirming', transfer };
  }

  /** Books a transfer that the chain reports; the stored answer when it was booked before. */
  async function credit(
    payment: OpenPayment,
    transfer: ObservedTransfer,
    replayed: boolean,
  ): Promise<TopupOutcome> {
    const { paymentId, accountId, signed } = payment;
    const { assetDecimals, contra } = networkOf(payment);
    await judgeNamed(payment, transfer);
    if (transfer.amountBaseUnits !== signed.amountBaseUnits) {
      log.warn(
        { paymentId, transaction: transfer.transaction },
        'the transfer differs from the signed amount',
      );
    }
    const booked = await book(payment, {
      paymentId,
      accountId,
      transfer,
      amountNanoUsd: baseUnitsToNano(transfer.amountBaseUnits, assetDecimals),
      contra,
      now: new Date(clock.nowMs()),
      firstCheckMs,
    });
    if (booked.purposeResult?.['unapplied'] !== undefined) {
      log.error({ paymentId, reason: booked.purposeResult['unapplied'] }, 'a purchase could not be applied');
    }
    if (booked.first) log.info({ paymentId, transaction: booked.transaction }, 'payment credited');
    return {
      kind: 'credited',
      paymentId,
      amountNanoUsd: booked.creditedNanoUsd,
      balanceNanoUsd: booked.availableNanoUsd,
      network: signed.network,
      payer: signed.payer,
      transaction: booked.transaction,
      replayed: replayed || !booked.first,
      purchase: booked.purposeResult,
    };
  }

  /**
   * A payment that was in doubt and whose money came by another transaction than the one that its facilitator named: what
   * it said was not true, although the money is here. First, so that a crash in between repeats it.
   */
  async function judgeNamed(
    { paymentId, facilitator, doubt }: OpenPayment,
    { transaction }: ObservedTransfer,
  ): Promise<void> {
    if (doubt?.named === undefined || doubt.named === transaction) return;
    await distrust(facilitator, { paymentId, reason: 'named_another_transaction' });
  }

  /** One transaction: the credit, and what its purchase does outside the cell. */
  async function book(payment: OpenPayment, order: NewCredit): Promise<Credit> {
    const { cell, purpose } = payment;
    if (!purpose || purpose.kind === REFUSED) return statements.credit(cell, order);
    const effect = purposeEffects[purpose.kind];
    // Half a purchase would be lost for ever: a process that is set up for it has to do it.
    if (!effect) throw new Error(`this process cannot apply a purchase of kind ${purpose.kind}`);
    return withTransaction(db, async transaction => {
      const [booked] = await creditPayments(transaction, cell, [order]);
      assert(booked, 'a payment has a credit');
      const result = booked.purposeResult;
      if (!booked.first || booked.again || result === undefined || result['unapplied'] !== undefined)
        return booked;
      const addition = await effect(transaction, { ...payment, purpose });
      await extendPurposeResult(transaction, cell, payment.paymentId, addition);
      return { ...booked, purposeResult: { ...result, ...addition } };
    });
  }

  async function fail(
    payment: OpenPayment,
    failure: { reason: string; transaction?: string; usableUntilMs?: number },
  ): Promise<TopupOutcome> {
    const { paymentId, cell, saidSettled } = payment;
    const { reason, transaction, usableUntilMs = 0 } = failure;
    // First, so that a crash in between repeats it: a payment that is closed is not looked at again. And the claim before
    // the mark, which points to it.
    if (saidSettled) {
      await keepClaim(db, cell, paymentId);
      await distrust(payment.facilitator, { paymentId, reason });
    }
    const recheckAt = new Date(usableUntilMs + RECHECK_MARGIN_MS);
    await failPayment(db, cell, paymentId, {
      reason,
      recheckAt,
      ...(transaction ? { transaction } : {}),
    });
    log.warn({ paymentId, reason, transaction }, 'payment proven not to have moved money');
    return { kind: 'failed', paymentId, reason, transaction };
  }

  function networkOf(payment: Partial<OpenPayment> & Pick<Payment, 'signed'>): SettlementNetwork {
    const network = networks.get(payment.signed.network);
    if (!network) throw new Error(`network ${payment.signed.network} is not configured any more`);
    return network;
  }

  return { conclude, look, awaitProof, credit, networkOf };
}

export type Settlement = ReturnType<typeof createSettlement>;

/** The payment with what its facilitator has just claimed. */
export function claimed(payment: OpenPayment, result: SettleResult): OpenPayment {
  const saidSettled = result.kind !== 'not_submitted' && result.saidSettled === true;
  return { ...payment, saidSettled: payment.saidSettled || saidSettled };
}

/** The trace with the transaction that a settle call named, if it did. */
export function addTo(trace: Trace, result: SettleResult): Trace {
  if (result.kind !== 'submitted') return trace;
  const { transactions, reported = [] } = trace;
  const add = (list: readonly string[]) => [...new Set([...list, result.transaction])];
  if (result.reported) return { ...trace, reported: add(reported) };
  return { ...trace, transactions: add(transactions), ...(result.signed && { signed: result.transaction }) };
}
