import { addressTopic, authorizationStateCallData, EIP3009_TOPICS, topicAddress } from '../lib/eip3009.ts';
import type { EvmClient, EvmReceipt } from '../ports/evm-client.ts';
import type { Eip3009Payment } from '../ports/payment.ts';
import type { EvmPermission, Finding } from './evm-permission.ts';
import { isTransferFrom, observeTransfer } from './evm-transfers.ts';

/** The traces of an EIP-3009 authorization: the token's own state and events, indexed by payer and nonce. */
export function eip3009Permission(payment: Eip3009Payment, client: EvmClient): EvmPermission {
  const { asset } = payment;
  const { from, nonce, validBefore } = payment.authorization;

  return {
    validBefore,
    async isConsumed(block) {
      const data = authorizationStateCallData(from, nonce);
      return BigInt(await client.call(asset, data, block === undefined ? {} : { block })) !== 0n;
    },
    isIn: callData => callData.includes(nonce.slice(2)),
    readReceipt: receipt => Promise.resolve(readReceipt(payment, receipt)),
    async search(fromBlock, toBlock) {
      const events = [EIP3009_TOPICS.authorizationUsed, EIP3009_TOPICS.authorizationCanceled];
      const topics = [events, addressTopic(from), nonce];
      const [log] = await client.logs({ address: asset, topics, fromBlock, toBlock });
      if (log?.topics[0] === EIP3009_TOPICS.authorizationCanceled)
        return { kind: 'spent', reason: 'cancelled', block: log.blockNumber };
      const receipt = log && (await client.receipt(log.transactionHash));
      return receipt ? readReceipt(payment, receipt) : { kind: 'nothing' };
    },
    provenByAbsence: false,
  };
}

/**
 * The transfer that this authorization caused. USDC logs AuthorizationUsed and then Transfer, so the
 * payer's next Transfer after our nonce is ours, also when one transaction carries many authorizations.
 */
function readReceipt({ network, asset, payTo, authorization }: Eip3009Payment, receipt: EvmReceipt): Finding {
  const { from, nonce } = authorization;
  const logs = receipt.logs.filter(log => log.address === asset);
  const used = logs.findIndex(
    log =>
      log.topics[0] === EIP3009_TOPICS.authorizationUsed &&
      topicAddress(log.topics[1]) === from &&
      log.topics[2] === nonce,
  );
  const transfer = used < 0 ? undefined : logs.slice(used + 1).find(log => isTransferFrom(log, from));
  if (!transfer) return { kind: 'nothing' };
  // Another authorization with the same nonce: to somebody else, or over nothing.
  if (topicAddress(transfer.topics[2]) !== payTo || BigInt(transfer.data) === 0n) {
    return { kind: 'spent', reason: 'used_elsewhere', block: receipt.blockNumber };
  }
  return { kind: 'transferred', transfer: observeTransfer(network, transfer, receipt) };
}
