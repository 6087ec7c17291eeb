import { createEvmClient } from '../../src/chains/evm-client.ts';
import { findWallet } from '../../src/customers/customers.ts';
import { createPool } from '../../src/db/pool.ts';
import { contraName } from '../../src/ledger/chart.ts';
import { listTransfers } from '../../src/ledger/statements.ts';
import { EIP3009_TOPICS, topicAddress } from '../../src/lib/eip3009.ts';
import type { SandboxInfo } from './sandbox.ts';

type SandboxNetwork = SandboxInfo['networks'][number];

const RPC_TIMEOUT_MS = 5_000;

/** What the chain itself says about a transaction: who paid the receiver how much. */
export async function readChainTransfer(
  network: SandboxNetwork,
  transaction: string,
): Promise<{ blockNumber: bigint; from: string; amountBaseUnits: bigint }> {
  const client = createEvmClient({
    network: network.network,
    title: 'local chain',
    rpcUrl: network.rpcUrl,
    timeoutMs: RPC_TIMEOUT_MS,
  });
  const receipt = await client.receipt(transaction);
  const transfer = receipt?.logs.find(
    log =>
      log.address === network.asset &&
      log.topics[0] === EIP3009_TOPICS.transfer &&
      topicAddress(log.topics[2]) === network.payTo,
  );
  if (!receipt?.succeeded || !transfer)
    throw new Error(`the chain knows no transfer to ${network.payTo} in ${transaction}`);
  return {
    blockNumber: receipt.blockNumber,
    from: topicAddress(transfer.topics[1]),
    amountBaseUnits: BigInt(transfer.data),
  };
}

/** The rows that the ledger holds for a wallet, oldest first. */
export async function readLedger(databaseUrl: string, network: string, wallet: string) {
  const pool = createPool({ databaseUrl, maxConnections: 1, onError: () => undefined });
  try {
    const customer = await findWallet(pool, { environment: 'live', network, address: wallet });
    if (!customer) throw new Error(`the ledger has no account for ${wallet}`);
    const { transfers } = await listTransfers(pool, customer.cell, customer.accountId, { limit: 100 });
    return transfers.toReversed().map(line => ({ ...line, contra: contraName(line.contra) }));
  } finally {
    await pool.end();
  }
}
