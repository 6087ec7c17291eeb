import { addressTopic, EIP3009_TOPICS, topicAddress } from '../lib/eip3009.ts';
import { TRANSFER_WITH_MEMO } from '../lib/tip20.ts';
import type { EvmClient, EvmFoundLog } from '../ports/evm-client.ts';
import type { ReceiptScan } from '../ports/receipts.ts';
import type { TempoNetwork } from './tempo-networks.ts';

/** Reads what arrived at `payTo` on Tempo from the token's own events. */
export function createTempoReceipts(network: TempoNetwork, client: EvmClient, payTo: string): ReceiptScan {
  const asset = network.usdc.address;
  return {
    network: network.network,
    asset,
    payTo,
    rangeBlocks: network.logRangeBlocks,
    async heads() {
      const [newest, safe] = await Promise.all([client.blockNumber(), client.safeBlock()]);
      return { newest, final: safe.number };
    },
    async list(fromBlock, toBlock) {
      const topics = [[EIP3009_TOPICS.transfer, TRANSFER_WITH_MEMO], null, addressTopic(payTo)];
      const logs = await client.logs({ address: asset, topics, fromBlock, toBlock });
      return logs
        .filter(log => BigInt(log.data) > 0n && !logs.some(other => isMemoOf(log, other)))
        .map(log => ({
          network: network.network,
          transaction: log.transactionHash,
          logIndex: log.logIndex,
          blockNumber: log.blockNumber,
          blockHash: log.blockHash,
          asset,
          from: topicAddress(log.topics[1]),
          to: payTo,
          amountBaseUnits: BigInt(log.data),
        }));
    },
    // A payment is named by its transaction.
    identify: ({ transaction }) => Promise.resolve(`mpp:${network.chainId}:${transaction}`),
  };
}

/** A transfer with a memo is told by two events, one beside the other: the one with the memo names it. */
function isMemoOf(log: EvmFoundLog, other: EvmFoundLog): boolean {
  return (
    log.topics[0] === EIP3009_TOPICS.transfer &&
    other.topics[0] === TRANSFER_WITH_MEMO &&
    other.transactionHash === log.transactionHash &&
    Math.abs(other.logIndex - log.logIndex) === 1 &&
    other.topics[1] === log.topics[1] &&
    other.data === log.data
  );
}
