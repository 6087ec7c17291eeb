import { addressTopic, EIP3009_TOPICS, topicAddress } from '../lib/eip3009.ts';
import type { ObservedTransfer } from '../ports/chain.ts';
import type { EvmClient, EvmFoundLog } from '../ports/evm-client.ts';
import type { ReceiptScan } from '../ports/receipts.ts';
import type { EvmNetwork } from './evm-networks.ts';

/** Reads the USDC that arrived at `payTo` from the token's own Transfer events. */
export function createEvmReceipts(network: EvmNetwork, client: EvmClient, payTo: string): ReceiptScan {
  const asset = network.usdc.address;

  function toTransfer(log: EvmFoundLog): ObservedTransfer {
    return {
      network: network.network,
      transaction: log.transactionHash,
      logIndex: log.logIndex,
      blockNumber: log.blockNumber,
      blockHash: log.blockHash,
      asset,
      from: topicAddress(log.topics[1]),
      to: payTo,
      amountBaseUnits: BigInt(log.data),
    };
  }

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
      const topics = [EIP3009_TOPICS.transfer, null, addressTopic(payTo)];
      const logs = await client.logs({ address: asset, topics, fromBlock, toBlock });
      return logs.map(toTransfer).filter(({ amountBaseUnits }) => amountBaseUnits > 0n);
    },
    /** USDC logs AuthorizationUsed right before the Transfer that it causes (see evm-chain.ts). */
    async identify({ transaction, logIndex, from }) {
      const receipt = await client.receipt(transaction);
      const logs = receipt?.logs.filter(log => log.address === asset && topicAddress(log.topics[1]) === from);
      const place = logs?.findIndex(log => log.logIndex === logIndex) ?? -1;
      const cause = place > 0 ? logs?.[place - 1] : undefined;
      if (cause?.topics[0] !== EIP3009_TOPICS.authorizationUsed) return undefined;
      return `eip3009:${network.chainId}:${asset}:${from}:${cause.topics[2]}`;
    },
  };
}
