import { EIP3009_TOPICS, topicAddress } from '../lib/eip3009.ts';
import { permitNoncesIn } from '../lib/permit2.ts';
import type { ObservedTransfer } from '../ports/chain.ts';
import type { EvmClient, EvmFoundLog, EvmLog, EvmReceipt } from '../ports/evm-client.ts';

/** Where an event is; a receipt and a found log both tell. */
type Place = Pick<EvmFoundLog, 'transactionHash' | 'blockNumber' | 'blockHash'>;

export function isTransferFrom(log: EvmLog, from: string): boolean {
  return log.topics[0] === EIP3009_TOPICS.transfer && topicAddress(log.topics[1]) === from;
}

/** A Transfer event as the core sees it. */
export function observeTransfer(network: string, log: EvmLog, place: Place): ObservedTransfer {
  return {
    network,
    transaction: place.transactionHash,
    logIndex: log.logIndex,
    blockNumber: place.blockNumber,
    blockHash: place.blockHash,
    asset: log.address,
    from: topicAddress(log.topics[1]),
    to: topicAddress(log.topics[2]),
    amountBaseUnits: BigInt(log.data),
  };
}

/**
 * The identity of the signed permission that caused a transfer; undefined when nothing tells it. An EIP-3009 token
 * logs AuthorizationUsed right before the Transfer. Permit2 logs nothing, so a transfer is its work when the call
 * data hold as many permits of this payer, receiver and amount as the transaction has such transfers: they happen
 * in the order of the data.
 * @param receipt of the transfer's transaction, when it was read already
 */
export async function identifyTransfer(
  client: EvmClient,
  { transaction, logIndex, network, asset, from, to, amountBaseUnits }: ObservedTransfer,
  receipt?: EvmReceipt,
): Promise<string | undefined> {
  const found = receipt ?? (await client.receipt(transaction));
  const logs = found?.logs.filter(log => log.address === asset && topicAddress(log.topics[1]) === from) ?? [];
  const place = logs.findIndex(log => log.logIndex === logIndex);
  if (place < 0) return undefined;
  const chainId = network.slice('eip155:'.length);
  const cause = logs[place - 1];
  if (isAuthorization(cause)) return `eip3009:${chainId}:${asset}:${from}:${cause?.topics[2]}`;

  const data = await client.transactionData(transaction);
  if (data === undefined) return undefined;
  const terms = { token: asset, amount: amountBaseUnits, from, to };
  const nonces = [...new Set(permitNoncesIn(data, terms))];
  const alike = logs.filter(
    (log, index) =>
      isTransferFrom(log, from) &&
      topicAddress(log.topics[2]) === to &&
      BigInt(log.data) === amountBaseUnits &&
      !isAuthorization(logs[index - 1]),
  );
  const nonce = nonces[alike.findIndex(log => log.logIndex === logIndex)];
  return nonce === undefined || nonces.length !== alike.length
    ? undefined
    : `permit2:${chainId}:${from}:${nonce}`;
}

function isAuthorization(log: EvmLog | undefined): boolean {
  return log?.topics[0] === EIP3009_TOPICS.authorizationUsed;
}
