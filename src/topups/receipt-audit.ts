import type { CellName, Queryable } from '../db/queryable.ts';
import { baseUnitsToNano } from '../lib/money.ts';
import { findClaim } from '../payments/payment-claim.ts';
import { findPayment } from '../payments/payment-store.ts';
import {
  type CreditedPayment,
  closeUnapplied,
  findCreditedBy,
  findFirstBlock,
  findScannedTo,
  findWalk,
  listCreditedIn,
  listUnapplied,
  saveScannedTo,
  saveWalk,
  storeUnapplied,
  type UnappliedReceipt,
} from '../payments/receipt-store.ts';
import type { ObservedTransfer } from '../ports/chain.ts';
import type { Environment } from '../ports/environment.ts';
import type { BackwardScan, ForwardScan, ReceiptScan } from '../ports/receipts.ts';
import { CONFIRMING, type Settlement } from './settlement.ts';

/** A receiver whose money is compared with the books. */
export interface AuditedReceiver {
  scan: ReceiptScan;
  environment: Environment;
  assetDecimals: number;
}

export interface ReceiptAuditDeps {
  db: Queryable;
  cells: readonly CellName[];
  settlement: Settlement;
}

/** What one look at one receiver found. */
export interface ReceiptAudit {
  network: string;
  /** Everything up to this block was compared with the books. */
  scannedTo: bigint;
  newestBlock: bigint;
  unapplied: UnappliedReceipt[];
  creditedNotOnChain: CreditedPayment[];
}

/** Where one look begins, and where the chain ends. */
interface Bounds {
  /** Everything up to here is accounted for. */
  start: bigint;
  newest: bigint;
  final: bigint;
}

interface Findings {
  found: UnappliedReceipt[];
  missing: CreditedPayment[];
  scannedTo: bigint;
}

/** One call reads this many ranges of blocks, or pages of a list, at most; the next goes on where it stopped. */
const MAX_RANGES = 1_000;
const MAX_PAGES = 100;
/** More findings than this are a flood: they are looked at in the next call. */
const MAX_FINDINGS = 1_000;
const MAX_PER_RANGE = 20_000;

/**
 * Compares everything that arrived at a receiver with everything that was credited, in both directions and
 * from the chain's own list of transfers, so that it finds what the payments themselves do not know. Blocks
 * that cannot be undone are compared once and their findings stored; newer ones every time.
 */
export function createReceiptAudit({ db, cells, settlement }: ReceiptAuditDeps) {
  /**
   * @param apply false: nothing is credited, stored or moved on
   * @throws GatewayError `unavailable` when the node or the database does not answer
   */
  async function audit(receiver: AuditedReceiver, apply: boolean): Promise<ReceiptAudit> {
    const { scan } = receiver;
    const heads = await scan.heads();
    const start = await findStart(scan, heads.final);
    const { found, missing, scannedTo } =
      'pageBack' in scan
        ? await walkBack({ ...receiver, scan }, apply, { ...heads, start })
        : await scanForward({ ...receiver, scan }, apply, { ...heads, start });
    const stored = await recheckStored(receiver, apply);
    return {
      network: scan.network,
      scannedTo,
      newestBlock: heads.newest,
      unapplied: distinct([...stored, ...found]),
      creditedNotOnChain: missing,
    };
  }

  /** Range after range, from where the last call stopped. */
  async function scanForward(
    receiver: AuditedReceiver & { scan: ForwardScan },
    apply: boolean,
    { start, newest, final }: Bounds,
  ): Promise<Findings> {
    const { scan } = receiver;
    const found: UnappliedReceipt[] = [];
    const missing: CreditedPayment[] = [];
    let scannedTo = start;
    for (let range = 0; range < MAX_RANGES && found.length < MAX_FINDINGS && scannedTo < newest; range += 1) {
      const fromBlock = scannedTo + 1n;
      const toBlock = smaller(scannedTo + scan.rangeBlocks, newest);
      const transfers = await scan.list(fromBlock, toBlock);
      found.push(...(await findUnapplied(receiver, transfers, apply)));
      missing.push(...(await findMissing(scan, transfers, { fromBlock, toBlock })));
      scannedTo = toBlock;
    }
    if (apply) {
      await storeLasting(receiver, found, final);
      await saveScannedTo(db, scan, lastKept(smaller(scannedTo, final), missing));
    }
    return { found, missing, scannedTo };
  }

  /**
   * Page after page from the newest on, down to what is accounted for. Each page is kept when it was compared, so that a
   * walk that is interrupted goes on where it was: first the old one, then a new one down to where that began.
   */
  async function walkBack(
    receiver: AuditedReceiver & { scan: BackwardScan },
    apply: boolean,
    { start, newest, final }: Bounds,
  ): Promise<Findings> {
    const { scan } = receiver;
    const found: UnappliedReceipt[] = [];
    const missing: CreditedPayment[] = [];
    let scannedTo = start;
    let isOld = true;
    let walk = await findWalk(db, scan);
    for (let page = 0; page < MAX_PAGES && found.length < MAX_FINDINGS; page += 1) {
      if (!walk) isOld = false;
      const at = walk ?? { to: final, from: newest + 1n, next: undefined };
      const toBlock = at.from - 1n;
      const range = { fromBlock: scannedTo + 1n, toBlock, next: at.next, seen: final };
      const { transfers, fromBlock, next } = await scan.pageBack(range);
      const unapplied = await findUnapplied(receiver, transfers, apply);
      const gone = await findMissing(scan, transfers, { fromBlock, toBlock });
      found.push(...unapplied);
      missing.push(...gone);
      const to = lastKept(at.to, gone);
      walk = next === undefined ? undefined : { to, from: smaller(fromBlock, at.from), next };
      if (!walk) scannedTo = to > scannedTo ? to : scannedTo;
      if (apply) {
        await storeLasting(receiver, unapplied, final);
        await saveWalk(db, scan, scannedTo, walk);
      }
      if (!walk && !isOld) return { found, missing, scannedTo: newest };
    }
    return { found, missing, scannedTo };
  }

  /** Without a cursor: the first block that a payment of ours can be in; without payments, now. */
  async function findStart(scan: ReceiptScan, final: bigint): Promise<bigint> {
    const cursor = await findScannedTo(db, scan);
    if (cursor !== undefined) return cursor;
    const firsts = await Promise.all(cells.map(cell => findFirstBlock(db, cell, scan.network)));
    const known = firsts.filter(first => first !== undefined);
    return known.reduce((lowest, first) => smaller(lowest, first - 1n), final);
  }

  /** Transfers that are in nobody's credit, after everything was done to credit them. */
  async function findUnapplied(
    { scan, assetDecimals }: AuditedReceiver,
    transfers: readonly ObservedTransfer[],
    apply: boolean,
  ): Promise<UnappliedReceipt[]> {
    const credited = await creditedBy(scan.network, transfers);
    const unapplied: UnappliedReceipt[] = [];
    for (const transfer of transfers) {
      const payment = credited.get(nameOf(transfer));
      if (payment?.creditedNanoUsd === baseUnitsToNano(transfer.amountBaseUnits, assetDecimals)) continue;
      const found = payment ? { paymentId: payment.paymentId } : await settle(scan, transfer, apply);
      if (typeof found === 'object') unapplied.push({ ...transfer, ...found });
    }
    return unapplied;
  }

  /** Finds the payment that a transfer belongs to, credits it if need be, and says what is left to explain. */
  async function settle(
    scan: ReceiptScan,
    transfer: ObservedTransfer,
    apply: boolean,
  ): Promise<'credited' | 'confirming' | { paymentId: string | undefined }> {
    const identity = await scan.identify(transfer);
    const claim = identity === undefined ? undefined : await findClaim(db, identity);
    if (!claim) return { paymentId: undefined };
    const { cell, paymentId } = claim;
    const payment = await findPayment(db, cell, paymentId);
    if (!payment) return { paymentId: undefined };
    if (apply && payment.state !== 'credited') {
      await settlement.conclude({ ...payment, cell }, { transactions: [transfer.transaction] }, 0);
    }
    const now = await findPayment(db, cell, paymentId);
    if (now?.state === 'pending' && now.reason === CONFIRMING) return 'confirming';
    // A block that was made anew can give the same transaction another place.
    return now?.state === 'credited' && now.transaction === transfer.transaction ? 'credited' : { paymentId };
  }

  /** Credited payments whose transfer is not where it was, and nowhere else either. */
  async function findMissing(
    { network }: ReceiptScan,
    transfers: readonly ObservedTransfer[],
    range: { fromBlock: bigint; toBlock: bigint },
  ): Promise<CreditedPayment[]> {
    const names = new Set(transfers.map(nameOf));
    const missing: CreditedPayment[] = [];
    for (const cell of cells) {
      const credited = await listCreditedIn(db, cell, { network, ...range, limit: MAX_PER_RANGE });
      for (const payment of credited) {
        if (!names.has(nameOf(payment)) && !(await standsElsewhere(cell, payment))) missing.push(payment);
      }
    }
    return missing;
  }

  async function standsElsewhere(
    cell: CellName,
    { paymentId, transaction }: CreditedPayment,
  ): Promise<boolean> {
    const payment = await findPayment(db, cell, paymentId);
    if (payment?.state !== 'credited') return true;
    const { chain } = settlement.networkOf({ ...payment, cell });
    const hint = { transactions: [transaction], fromBlock: payment.fromBlock };
    const proof = await chain.proveSettlement(payment.signed, hint);
    return proof.kind === 'transferred';
  }

  /** What cannot be undone any more is remembered until it is explained. */
  async function storeLasting(
    { scan, environment }: AuditedReceiver,
    found: readonly UnappliedReceipt[],
    final: bigint,
  ): Promise<void> {
    const lasting = found.filter(receipt => receipt.blockNumber <= final);
    if (lasting.length > 0) await storeUnapplied(db, { ...scan, environment }, lasting);
  }

  /** Findings of earlier calls that are still in nobody's credit. */
  async function recheckStored({ scan }: AuditedReceiver, apply: boolean): Promise<UnappliedReceipt[]> {
    const stored = await listUnapplied(db, scan.network, MAX_FINDINGS);
    const credited = await creditedBy(scan.network, stored);
    const open: UnappliedReceipt[] = [];
    for (const receipt of stored) {
      if (!credited.has(nameOf(receipt))) open.push(receipt);
      else if (apply) await closeUnapplied(db, { ...receipt, reason: 'credited' });
    }
    return open;
  }

  async function creditedBy(
    network: string,
    transfers: readonly { transaction: string; logIndex: number }[],
  ): Promise<Map<string, CreditedPayment>> {
    if (transfers.length === 0) return new Map();
    const rows = await Promise.all(cells.map(cell => findCreditedBy(db, cell, network, transfers)));
    return new Map(rows.flat().map(payment => [nameOf(payment), payment]));
  }

  return { audit };
}

export type ReceiptAuditor = ReturnType<typeof createReceiptAudit>;

const nameOf = ({ transaction, logIndex }: { transaction: string; logIndex: number }): string =>
  `${transaction}:${logIndex}`;

/** A payment whose transfer is gone keeps its block under observation. */
const lastKept = (until: bigint, missing: readonly CreditedPayment[]): bigint =>
  missing.reduce((lowest, { blockNumber }) => smaller(lowest, blockNumber - 1n), until);

const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b);

function distinct(receipts: readonly UnappliedReceipt[]): UnappliedReceipt[] {
  return [...new Map(receipts.map(receipt => [nameOf(receipt), receipt])).values()];
}
