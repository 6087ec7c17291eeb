import { topicAddress } from '../lib/eip3009.ts';
import { GatewayError } from '../lib/errors.ts';
import { findMemoTransfer } from '../lib/tip20.ts';
import type { Chain, ProofHint, SettlementProof } from '../ports/chain.ts';
import type { EvmClient, EvmReceipt } from '../ports/evm-client.ts';
import { type ExactPayment, requireKind, type TempoPayment } from '../ports/payment.ts';
import { createStanding } from './evm-standing.ts';
import type { TempoNetwork } from './tempo-networks.ts';

const DECIMALS_CALL = '0x313ce567';
const HEAD_MAX_AGE_MS = 1_000;

/**
 * Reads settlements on Tempo. The transaction is known before it is sent and is executed once or never, so its
 * receipt decides; the token's own event says what was moved.
 */
export function createTempoChain(network: TempoNetwork, client: EvmClient): Chain {
  let head = 0n;
  let headReadAtMs = Number.NEGATIVE_INFINITY;

  async function readHead(): Promise<bigint> {
    head = await client.blockNumber();
    headReadAtMs = performance.now();
    return head;
  }

  async function proveSettlement(given: ExactPayment, hint: ProofHint): Promise<SettlementProof> {
    const payment = requireKind(given, 'tempo');
    const receipt = await client.receipt(payment.transfer.hash);
    if (receipt) return readReceipt(payment, receipt, hint);
    const { validBefore } = payment.transfer;
    if (validBefore === 0n) return { kind: 'unknown', used: false };
    // Not in a block that cannot be undone and that is past the limit: no later block takes it.
    const safe = await client.safeBlock();
    if (safe.timestamp < validBefore || (await client.receipt(payment.transfer.hash))) {
      return { kind: 'unknown', used: false };
    }
    return { kind: 'impossible', reason: 'expired' };
  }

  async function readReceipt(
    payment: TempoPayment,
    receipt: EvmReceipt,
    { confirmations = 1 }: ProofHint,
  ): Promise<SettlementProof> {
    const { transactionHash: transaction } = receipt;
    if (!receipt.succeeded) return { kind: 'impossible', reason: 'failed_on_chain', transaction };
    const log = findMemoTransfer(receipt.logs, {
      token: payment.asset,
      from: payment.payer,
      to: payment.payTo,
      isMemo: memo => memo === payment.transfer.memo,
      amountBaseUnits: payment.amountBaseUnits,
    });
    if (!log) return { kind: 'impossible', reason: 'used_elsewhere', transaction };
    if (head < receipt.blockNumber) head = receipt.blockNumber;
    if (head - receipt.blockNumber + 1n < BigInt(confirmations)) await readHead();
    return {
      kind: 'transferred',
      transfer: {
        network: payment.network,
        transaction,
        logIndex: log.logIndex,
        blockNumber: receipt.blockNumber,
        blockHash: receipt.blockHash,
        asset: log.address,
        from: topicAddress(log.topics[1]),
        to: payment.payTo,
        amountBaseUnits: BigInt(log.data),
      },
      confirmations: Number(head - receipt.blockNumber) + 1,
    };
  }

  return {
    network: network.network,
    proveSettlement,
    standing: createStanding(client),
    currentBlock: async () => (performance.now() - headReadAtMs < HEAD_MAX_AGE_MS ? head : readHead()),
    // The transaction names itself, so nothing is ever searched for.
    earliestSettlementBlock: () => 0n,
    checkSetup: () => checkSetup(network, client),
  };
}

async function checkSetup(
  { chainId, title, usdc: token }: TempoNetwork,
  client: EvmClient,
): Promise<string[]> {
  try {
    const served = await client.chainId();
    if (served !== chainId) return [`TEMPO_RPC_URL serves chain ${served}, but ${title} is chain ${chainId}`];
    const decimals = BigInt(await client.call(token.address, DECIMALS_CALL));
    return decimals === BigInt(token.decimals)
      ? []
      : [`TEMPO_RPC_URL: the token ${token.address} has ${decimals} decimals, not ${token.decimals}`];
  } catch (error) {
    if (!(error instanceof GatewayError)) return [`TEMPO_RPC_URL: ${token.address} is no token there`];
    return ['TEMPO_RPC_URL does not answer'];
  }
}
