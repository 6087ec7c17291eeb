import { asGatewayError } from '../db/pg-errors.ts';
import type { CellName, Queryable } from '../db/queryable.ts';
import { GatewayError } from '../lib/errors.ts';
import {
  closeUndoneForeign,
  listUndoneForeign,
  type UndoneSettlement,
} from '../payments/foreign-finality-store.ts';
import { expireForeignLeases, listUndecidedForeign } from '../payments/foreign-settlement.ts';
import { expireLeases } from '../payments/payment-store.ts';
import {
  type CreditedPayment,
  closeUnapplied,
  listUndecided,
  readClock,
  type UnappliedReceipt,
  type UndecidedPayment,
} from '../payments/receipt-store.ts';
import type { AuditedReceiver, ReceiptAudit, ReceiptAuditor } from './receipt-audit.ts';
import type { createReconciler } from './reconciler.ts';
import { CONFIRMING } from './settlement.ts';

export type AgedPayment = UndecidedPayment & { ageSeconds: number };

/** Chain and books, compared. Without a gap every list but `confirming` is empty. */
export interface ReconciliationReport {
  at: Date;
  /** How far each network was compared; `problem` says why it could not be told. */
  networks: { network: string; scannedTo: bigint; newestBlock: bigint; problem: string | undefined }[];
  /** Money of a payment of ours that arrived and is not credited. */
  settledNotCredited: UnappliedReceipt[];
  /** Credit whose transfer the chain does not show. */
  creditedNotOnChain: CreditedPayment[];
  /** Payments whose outcome is not known, oldest first; those of other sellers, too. */
  pending: AgedPayment[];
  /** Payments whose transfer is on chain and not deep enough for its amount yet: no gap. */
  confirming: AgedPayment[];
  /** Money that arrived by no payment of ours. */
  suspense: UnappliedReceipt[];
  /** Settlements that other sellers were told of and that a reorganisation has undone for good. */
  undone: UndoneSettlement[];
}

export interface ReconciliationDeps {
  db: Queryable;
  cells: readonly CellName[];
  receivers: readonly AuditedReceiver[];
  reconciler: ReturnType<typeof createReconciler>;
  audit: ReceiptAuditor;
  /** Networks without a node, whose books can be compared with nothing. */
  unread: readonly string[];
}

/** Rounds in which nothing is decided any more end the work; so many passes end it in any case. */
const MAX_PASSES = 5;
const MAX_ROUNDS_PER_PASS = 500;
const MAX_PENDING = 1_000;
const MAX_UNDONE = 1_000;

const UNREAD = 'there is no node: credit rests on the word of the facilitators';

/** Brings payments to their end as far as the chain can prove it, and reports what is left. */
export function createReconciliation(deps: ReconciliationDeps) {
  const { db, cells, reconciler } = deps;

  async function countUndecided(before: Date): Promise<number> {
    return (await undecided(before)).length;
  }

  async function undecided(before: Date): Promise<UndecidedPayment[]> {
    const lists = await Promise.all([
      ...cells.map(cell => listUndecided(db, cell, before, MAX_PENDING)),
      listUndecidedForeign(db, before, MAX_PENDING),
    ]);
    return lists.flat().sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime());
  }

  /** Every open payment is tried, not only those that are due. */
  async function proveAll(startedAt: Date): Promise<void> {
    let left = await countUndecided(startedAt);
    for (let pass = 0; pass < MAX_PASSES && left > 0; pass += 1) {
      for (const cell of cells) await expireLeases(db, cell);
      await expireForeignLeases(db);
      for (let round = 0; round < MAX_ROUNDS_PER_PASS; round += 1) {
        if ((await reconciler.runOnce()) === 0) break;
      }
      const before = left;
      left = await countUndecided(startedAt);
      if (left >= before) return;
    }
  }

  /** A node that does not answer says nothing about the other networks. */
  async function auditSafely(
    receiver: AuditedReceiver,
    apply: boolean,
  ): Promise<ReceiptAudit & { problem: string | undefined }> {
    try {
      const result = await deps.audit.audit(receiver, apply);
      const behind = result.scannedTo < result.newestBlock;
      return { ...result, problem: behind ? 'not all blocks are compared yet: run it again' : undefined };
    } catch (error) {
      const known = asGatewayError(error);
      if (!(known instanceof GatewayError)) throw error;
      const nothing = { scannedTo: 0n, newestBlock: 0n, unapplied: [], creditedNotOnChain: [] };
      return { network: receiver.scan.network, ...nothing, problem: known.message };
    }
  }

  return {
    /**
     * @param options.dryRun changes nothing: no payment is worked on, no finding is stored
     * @throws GatewayError `unavailable` when the database does not answer
     */
    async run({ dryRun = false }: { dryRun?: boolean } = {}): Promise<ReconciliationReport> {
      const at = await readClock(db);
      if (!dryRun) await proveAll(at);
      const audits = await Promise.all(deps.receivers.map(receiver => auditSafely(receiver, !dryRun)));
      const unapplied = audits.flatMap(audit => audit.unapplied);
      const open = (await undecided(at)).map(payment => ({ ...payment, ageSeconds: ageOf(payment, at) }));
      return {
        at,
        networks: [
          ...audits.map(({ network, scannedTo, newestBlock, problem }) => ({
            network,
            scannedTo,
            newestBlock,
            problem,
          })),
          ...deps.unread.map(network => ({ network, scannedTo: 0n, newestBlock: 0n, problem: UNREAD })),
        ],
        settledNotCredited: unapplied.filter(receipt => receipt.paymentId !== undefined),
        creditedNotOnChain: audits.flatMap(audit => audit.creditedNotOnChain),
        pending: open.filter(({ reason }) => reason !== CONFIRMING),
        confirming: open.filter(({ reason }) => reason === CONFIRMING),
        suspense: unapplied.filter(receipt => receipt.paymentId === undefined),
        undone: await listUndoneForeign(db, MAX_UNDONE),
      };
    },
    /** @returns false when no open finding has this name. */
    close: (receipt: { network: string; transaction: string; logIndex: number; reason: string }) =>
      closeUnapplied(db, receipt),
    /** @returns false when no undone settlement has this name. */
    closeSettlement: (undone: { paymentId: string; reason: string }) => closeUndoneForeign(db, undone),
  };
}

const ageOf = ({ createdAt }: UndecidedPayment, at: Date): number =>
  Math.max(0, Math.floor((at.getTime() - createdAt.getTime()) / 1000));

export type Reconciliation = ReturnType<typeof createReconciliation>;

/**
 * A gap that was found is one, whatever else is unknown. An open payment is one too, unless a node that could
 * have told did not answer: then it is `unknown`.
 */
export function judge(report: ReconciliationReport): 'in_order' | 'gap' | 'unknown' {
  const gaps = [report.settledNotCredited, report.creditedNotOnChain, report.suspense, report.undone];
  if (gaps.some(list => list.length > 0)) return 'gap';
  if (report.networks.some(({ problem }) => problem !== undefined)) return 'unknown';
  return report.pending.length > 0 ? 'gap' : 'in_order';
}
