import { addressTopic, EIP3009_TOPICS } from '../lib/eip3009.ts';
import type { EvmClient } from '../ports/evm-client.ts';
import type { ReceiptScan } from '../ports/receipts.ts';
import type { EvmNetwork } from './evm-networks.ts';
import { identifyTransfer, observeTransfer } from './evm-transfers.ts';

/** Reads the USDC that arrived at `payTo` from the token's own Transfer events. */
export function createEvmReceipts(network: EvmNetwork, client: EvmClient, payTo: string): ReceiptScan {
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
      const topics = [EIP3009_TOPICS.transfer, null, addressTopic(payTo)];
      const logs = await client.logs({ address: asset, topics, fromBlock, toBlock });
      return logs
        .map(log => observeTransfer(network.network, log, log))
        .filter(({ amountBaseUnits }) => amountBaseUnits > 0n);
    },
    identify: transfer => identifyTransfer(client, transfer),
  };
}
