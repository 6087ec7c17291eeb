import { assert } from '../lib/assert.ts';
import type { Clock } from '../lib/clock.ts';
import type { Chain, ObservedTransfer, ProofHint, SettlementProof } from '../ports/chain.ts';
import type { EvmClient } from '../ports/evm-client.ts';
import type { ExactPayment } from '../ports/payment.ts';
import { eip3009Permission } from './evm-eip3009.ts';
import type { EvmNetwork } from './evm-networks.ts';
import type { EvmPermission } from './evm-permission.ts';
import { permit2Permission } from './evm-permit2.ts';
import { checkEvmSetup, type EvmExtras } from './evm-setup.ts';
import { createStanding } from './evm-standing.ts';

const HEAD_MAX_AGE_MS = 1_000;

/** One or a few eth_getLogs per range. A permission is valid for two hours at most, which are some ranges. */
const MAX_LOG_RANGES = 20;

/** Reads settlements of payments from an EVM network. It believes the events and the state of contracts only. */
export function createEvmChain(
  network: EvmNetwork,
  client: EvmClient,
  clock: Clock,
  extras: EvmExtras,
): Chain {
  let head = 0n;
  let headReadAtMs = Number.NEGATIVE_INFINITY;

  async function readHead(): Promise<bigint> {
    head = await client.blockNumber();
    headReadAtMs = performance.now();
    return head;
  }

  /** A search may start a few blocks early, so a slightly old number serves as well as a call for each payment. */
  async function currentBlock(): Promise<bigint> {
    return performance.now() - headReadAtMs < HEAD_MAX_AGE_MS ? head : readHead();
  }

  /** Receipt first, because it is one call and usually enough; a search when nobody told us the transaction. */
  async function proveSettlement(payment: ExactPayment, hint: ProofHint): Promise<SettlementProof> {
    const permission = permissionOf(payment, client);
    let reverted: { transaction: string; block: bigint } | undefined;
    const { reported = [] } = hint;
    for (const hash of [...hint.transactions, ...reported]) {
      const receipt = await client.receipt(hash);
      if (!receipt) continue;
      if (receipt.succeeded) {
        const proof = await conclude(await permission.readReceipt(receipt), hint);
        if (proof) return proof;
      } else if (hint.transactions.includes(hash) || (await isAbout(hash, permission))) {
        reverted = { transaction: hash, block: receipt.blockNumber };
      }
    }
    // While our own transaction waits to be mined its receipt will tell; asking for more would only cost calls.
    if (!reverted && hint.transactions.length > 0 && !mayBeExpired(permission)) {
      return { kind: 'unknown', used: false };
    }
    if (reverted && !(await permission.isConsumed(await recentBlock(reverted.block)))) {
      const usableUntilMs = expiryMs(permission);
      return { kind: 'reverted', transaction: reverted.transaction, usableUntilMs };
    }
    return proveByState(permission, hint);
  }

  /**
   * The newest block, or this one where a node behind the same URL does not know it yet. What is unused there was
   * unused before, and only archive nodes still answer about older blocks. Named by its number, so that a node that
   * is behind fails instead of answering about the past.
   */
  async function recentBlock(atLeast: bigint): Promise<bigint> {
    const newest = await readHead();
    return newest > atLeast ? newest : atLeast;
  }

  /** Whether a transaction that somebody else named is about this payment. */
  async function isAbout(hash: string, permission: EvmPermission): Promise<boolean> {
    const data = await client.transactionData(hash);
    return data !== undefined && permission.isIn(data);
  }

  async function proveByState(permission: EvmPermission, hint: ProofHint): Promise<SettlementProof> {
    if (await permission.isConsumed()) return search(permission, hint);
    if (mayBeExpired(permission)) {
      // Unused at a block that cannot be undone and that is past the limit: no later block can use it.
      const safe = await client.safeBlock();
      const isPast = safe.timestamp >= permission.validBefore;
      if (isPast && !(await permission.isConsumed(safe.number)))
        return { kind: 'impossible', reason: 'expired' };
    }
    return { kind: 'unknown', used: false };
  }

  /** Our clock only decides whether to ask; the proof of expiry is the chain's. */
  function mayBeExpired(permission: EvmPermission): boolean {
    return clock.nowMs() >= expiryMs(permission);
  }

  /** Finds how a consumed permission was used, from the first block in which that could be. */
  async function search(permission: EvmPermission, hint: ProofHint): Promise<SettlementProof> {
    const unknown: SettlementProof = { kind: 'unknown', used: true };
    const newest = await readHead();
    let start = hint.fromBlock;
    for (let range = 0; range < MAX_LOG_RANGES && start <= newest; range += 1) {
      const end = start + network.logRangeBlocks - 1n;
      const finding = await permission.search(start, end < newest ? end : newest);
      const proof = await conclude(finding, hint);
      if (proof) return proof;
      if (finding.kind === 'nothing' && finding.doubtful) return unknown;
      start = end + 1n;
    }
    if (!permission.provenByAbsence) return unknown;
    const safe = await client.safeBlock();
    const isSearched = start > safe.number && safe.number <= newest;
    return isSearched && (await permission.isConsumed(safe.number))
      ? { kind: 'impossible', reason: 'used_elsewhere' }
      : unknown;
  }

  /** @returns undefined when nothing is proven and the search has to go on. */
  async function conclude(
    finding: Awaited<ReturnType<EvmPermission['search']>>,
    { confirmations = 1 }: ProofHint,
  ): Promise<SettlementProof | undefined> {
    if (finding.kind === 'nothing') return undefined;
    if (finding.kind === 'transferred') return confirm(finding.transfer, confirmations);
    // A reorganisation could still let our transaction come first.
    const safe = await client.safeBlock();
    return finding.block <= safe.number
      ? { kind: 'impossible', reason: finding.reason }
      : { kind: 'unknown', used: true };
  }

  async function confirm(transfer: ObservedTransfer, confirmations: number): Promise<SettlementProof> {
    const { blockNumber } = transfer;
    if (head < blockNumber) head = blockNumber;
    if (head - blockNumber + 1n < BigInt(confirmations)) await readHead();
    return { kind: 'transferred', transfer, confirmations: Number(head - blockNumber) + 1 };
  }

  return {
    network: network.network,
    proveSettlement,
    standing: createStanding(client),
    currentBlock,
    earliestSettlementBlock: block => (block > network.lookbackBlocks ? block - network.lookbackBlocks : 0n),
    checkSetup: () => checkEvmSetup(network, client, extras),
  };
}

function permissionOf(payment: ExactPayment, client: EvmClient): EvmPermission {
  if (payment.kind === 'permit2') return permit2Permission(payment, client);
  assert(payment.kind === 'eip3009', 'a payment of an EVM network');
  return eip3009Permission(payment, client);
}

function expiryMs({ validBefore }: EvmPermission): number {
  return Number(validBefore * 1000n);
}
