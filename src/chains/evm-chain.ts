import type { Clock } from '../lib/clock.ts';
import {
  addressTopic,
  authorizationStateCallData,
  domainSeparator,
  EIP3009_TOPICS,
  topicAddress,
} from '../lib/eip3009.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Chain, ObservedTransfer, ProofHint, SettlementProof } from '../ports/chain.ts';
import type { EvmClient, EvmLog, EvmReceipt } from '../ports/evm-client.ts';
import { type Eip3009Payment, type ExactPayment, requireKind } from '../ports/payment.ts';
import type { EvmNetwork } from './evm-networks.ts';
import { createStanding } from './evm-standing.ts';

/** Call data of `DOMAIN_SEPARATOR()` and `decimals()`, checked against our table at start. */
const DOMAIN_SEPARATOR_CALL = '0x3644e515';
const DECIMALS_CALL = '0x313ce567';

const HEAD_MAX_AGE_MS = 1_000;

/** One eth_getLogs per range, so a search is at most this many calls. */
const MAX_LOG_RANGES = 20;

/** Reads settlements of EIP-3009 payments from an EVM network. It believes the token's own events only. */
export function createEvmChain(network: EvmNetwork, client: EvmClient, clock: Clock): Chain {
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

  /** Receipt first, because it is one call and usually enough; logs when nobody told us the transaction. */
  async function proveSettlement(given: ExactPayment, hint: ProofHint): Promise<SettlementProof> {
    const payment = requireKind(given, 'eip3009');
    let reverted: { transaction: string; block: bigint } | undefined;
    const { reported = [] } = hint;
    for (const hash of [...hint.transactions, ...reported]) {
      const receipt = await client.receipt(hash);
      if (!receipt) continue;
      if (receipt.succeeded) {
        const proof = await readReceipt(payment, receipt, hint);
        if (proof) return proof;
      } else if (hint.transactions.includes(hash) || (await carries(hash, payment))) {
        reverted = { transaction: hash, block: receipt.blockNumber };
      }
    }
    // While our own transaction waits to be mined its receipt will tell; asking for more would only cost calls.
    if (!reverted && hint.transactions.length > 0 && !mayBeExpired(payment)) {
      return { kind: 'unknown', used: false };
    }
    if (reverted && !(await isConsumed(payment, await recentBlock(reverted.block)))) {
      return { kind: 'reverted', transaction: reverted.transaction, usableUntilMs: expiryMs(payment) };
    }
    return proveByState(payment, hint);
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

  /** Whether a transaction that somebody else named is about this payment: then its data hold our nonce. */
  async function carries(hash: string, payment: Eip3009Payment): Promise<boolean> {
    const data = await client.transactionData(hash);
    return data?.includes(payment.authorization.nonce.slice(2)) === true;
  }

  async function proveByState(payment: Eip3009Payment, hint: ProofHint): Promise<SettlementProof> {
    if (await isConsumed(payment)) return searchLogs(payment, hint);
    if (mayBeExpired(payment)) {
      // Unused at a block that cannot be undone and that is past the limit: no later block can use it.
      const safe = await client.safeBlock();
      const isPast = safe.timestamp >= payment.authorization.validBefore;
      if (isPast && !(await isConsumed(payment, safe.number)))
        return { kind: 'impossible', reason: 'expired' };
    }
    return { kind: 'unknown', used: false };
  }

  async function isConsumed(payment: Eip3009Payment, block?: bigint): Promise<boolean> {
    const { from, nonce } = payment.authorization;
    const data = authorizationStateCallData(from, nonce);
    return BigInt(await client.call(payment.asset, data, block === undefined ? {} : { block })) !== 0n;
  }

  /** Our clock only decides whether to ask; the proof of expiry is the chain's. */
  function mayBeExpired(payment: Eip3009Payment): boolean {
    return clock.nowMs() >= expiryMs(payment);
  }

  /** Finds who consumed the authorization: the events are indexed by payer and nonce. */
  async function searchLogs(payment: Eip3009Payment, hint: ProofHint): Promise<SettlementProof> {
    const { fromBlock } = hint;
    const newest = await readHead();
    const { from, nonce } = payment.authorization;
    const events = [EIP3009_TOPICS.authorizationUsed, EIP3009_TOPICS.authorizationCanceled];
    let end = newest;
    // Newest first: what is searched for has usually just happened.
    for (let range = 0; range < MAX_LOG_RANGES && end >= fromBlock; range += 1) {
      const start = end - network.logRangeBlocks + 1n;
      const [log] = await client.logs({
        address: payment.asset,
        topics: [events, addressTopic(from), nonce],
        fromBlock: start > fromBlock ? start : fromBlock,
        toBlock: end,
      });
      if (log?.topics[0] === EIP3009_TOPICS.authorizationCanceled)
        return { kind: 'impossible', reason: 'cancelled' };
      const receipt = log && (await client.receipt(log.transactionHash));
      const proof = receipt && (await readReceipt(payment, receipt, hint));
      if (proof) return proof;
      end = start - 1n;
    }
    return { kind: 'unknown', used: true };
  }

  async function readReceipt(
    payment: Eip3009Payment,
    receipt: EvmReceipt,
    { confirmations = 1 }: ProofHint,
  ): Promise<SettlementProof | undefined> {
    const found = findTransfer(payment, receipt);
    if (found === undefined) return undefined;
    if (found === 'elsewhere') return { kind: 'impossible', reason: 'used_elsewhere' };
    if (head < receipt.blockNumber) head = receipt.blockNumber;
    if (head - receipt.blockNumber + 1n < BigInt(confirmations)) await readHead();
    return {
      kind: 'transferred',
      transfer: found,
      confirmations: Number(head - receipt.blockNumber) + 1,
    };
  }

  return {
    network: network.network,
    proveSettlement,
    standing: createStanding(client),
    currentBlock,
    earliestSettlementBlock: block => (block > network.lookbackBlocks ? block - network.lookbackBlocks : 0n),
    checkSetup: () => checkSetup(network, client),
  };
}

/**
 * The transfer that this authorization caused. USDC logs AuthorizationUsed and then Transfer, so the
 * payer's next Transfer after our nonce is ours, also when one transaction carries many authorizations.
 */
function findTransfer(
  payment: Eip3009Payment,
  receipt: EvmReceipt,
): ObservedTransfer | 'elsewhere' | undefined {
  const { from, nonce } = payment.authorization;
  const logs = receipt.logs.filter(log => log.address === payment.asset);
  const used = logs.findIndex(
    log =>
      log.topics[0] === EIP3009_TOPICS.authorizationUsed &&
      topicAddress(log.topics[1]) === from &&
      log.topics[2] === nonce,
  );
  if (used < 0) return undefined;
  const transfer = logs.slice(used + 1).find(log => isTransferFrom(log, from));
  if (!transfer) return undefined;
  const to = topicAddress(transfer.topics[2]);
  // Another authorization with the same nonce: to somebody else, or over nothing.
  if (to !== payment.payTo || BigInt(transfer.data) === 0n) return 'elsewhere';
  return {
    network: payment.network,
    transaction: receipt.transactionHash,
    logIndex: transfer.logIndex,
    blockNumber: receipt.blockNumber,
    blockHash: receipt.blockHash,
    asset: transfer.address,
    from,
    to,
    amountBaseUnits: BigInt(transfer.data),
  };
}

function expiryMs({ authorization }: Eip3009Payment): number {
  return Number(authorization.validBefore * 1000n);
}

function isTransferFrom(log: EvmLog, from: string): boolean {
  return log.topics[0] === EIP3009_TOPICS.transfer && topicAddress(log.topics[1]) === from;
}

async function checkSetup(network: EvmNetwork, client: EvmClient): Promise<string[]> {
  const { usdc, rpcSetting, title } = network;
  try {
    const chainId = await client.chainId();
    if (chainId !== network.chainId) {
      return [`${rpcSetting} serves chain ${chainId}, but ${title} is chain ${network.chainId}`];
    }
    const expected = domainSeparator({ ...usdc, chainId, verifyingContract: usdc.address });
    const [separator, decimals] = await Promise.all([
      client.call(usdc.address, DOMAIN_SEPARATOR_CALL),
      client.call(usdc.address, DECIMALS_CALL),
    ]);
    const problems: string[] = [];
    if (separator !== expected)
      problems.push(`${rpcSetting}: USDC on ${title} has another EIP-712 domain than ours`);
    if (BigInt(decimals) !== BigInt(usdc.decimals))
      problems.push(`${rpcSetting}: USDC on ${title} has other decimals`);
    return problems;
  } catch (error) {
    if (error instanceof GatewayError) return [`${rpcSetting}: the ${title} node does not answer`];
    return [`${rpcSetting}: USDC on ${title} cannot be read`];
  }
}
