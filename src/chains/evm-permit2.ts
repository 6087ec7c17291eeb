import { addressTopic, EIP3009_TOPICS, topicAddress } from '../lib/eip3009.ts';
import {
  isInvalidated,
  isNonceIn,
  NONCE_INVALIDATION_TOPIC,
  nonceBitmapCallData,
  PERMIT2_ADDRESS,
  permitWords,
} from '../lib/permit2.ts';
import type { ObservedTransfer } from '../ports/chain.ts';
import type { EvmClient } from '../ports/evm-client.ts';
import type { Permit2Payment } from '../ports/payment.ts';
import type { EvmPermission, Finding } from './evm-permission.ts';
import { identifyTransfer, isTransferFrom, observeTransfer } from './evm-transfers.ts';

/** Equal transfers of one payer in one range of blocks that are looked at; each costs two or three calls. */
const MAX_CANDIDATES = 50;

/**
 * The traces of a Permit2 payment. Permit2 keeps a bit for each used nonce and logs nothing, so the transfer is
 * looked for among the payer's transfers of the very amount, and recognised by the permit in the call data.
 */
export function permit2Permission(payment: Permit2Payment, client: EvmClient): EvmPermission {
  const { network, asset, payTo, permit, identity } = payment;
  const { from, nonce, amount } = permit;
  const words = permitWords(permit);

  async function isConsumed(block?: bigint): Promise<boolean> {
    const data = nonceBitmapCallData(from, nonce);
    const bitmap = await client.call(PERMIT2_ADDRESS, data, block === undefined ? {} : { block });
    return isNonceIn(bitmap, nonce);
  }

  /** Call data alone prove nothing, because anybody may write a permit into them: the nonce must be used, too. */
  async function accept(transfer: ObservedTransfer): Promise<Finding> {
    return (await isConsumed()) ? { kind: 'transferred', transfer } : { kind: 'nothing', doubtful: true };
  }

  async function findGivenUp(fromBlock: bigint, toBlock: bigint): Promise<Finding> {
    const topics = [NONCE_INVALIDATION_TOPIC, addressTopic(from)];
    const logs = await client.logs({ address: PERMIT2_ADDRESS, topics, fromBlock, toBlock });
    const event = logs.find(log => isInvalidated(log.data, nonce));
    return event ? { kind: 'spent', reason: 'cancelled', block: event.blockNumber } : { kind: 'nothing' };
  }

  return {
    // Permit2 still takes it in the second of its deadline.
    validBefore: permit.deadline + 1n,
    isConsumed,
    isIn: callData => callData.includes(words),
    async readReceipt(receipt) {
      const logs = receipt.logs.filter(
        log =>
          log.address === asset &&
          isTransferFrom(log, from) &&
          topicAddress(log.topics[2]) === payTo &&
          BigInt(log.data) === amount,
      );
      for (const log of logs) {
        const transfer = observeTransfer(network, log, receipt);
        if ((await identifyTransfer(client, transfer, receipt)) === identity) return accept(transfer);
      }
      return { kind: 'nothing' };
    },
    async search(fromBlock, toBlock) {
      const topics = [EIP3009_TOPICS.transfer, addressTopic(from), addressTopic(payTo)];
      const logs = await client.logs({ address: asset, topics, fromBlock, toBlock });
      const alike = logs.filter(log => BigInt(log.data) === amount);
      let doubtful = alike.length > MAX_CANDIDATES;
      for (const log of alike.slice(0, MAX_CANDIDATES)) {
        const transfer = observeTransfer(network, log, log);
        const cause = await identifyTransfer(client, transfer);
        if (cause === identity) return accept(transfer);
        // It may be ours, sent by a contract that packs its call data.
        doubtful ||= cause === undefined;
      }
      return doubtful ? { kind: 'nothing', doubtful } : findGivenUp(fromBlock, toBlock);
    },
    provenByAbsence: true,
  };
}
