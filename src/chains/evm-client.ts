import { unavailable } from '../lib/errors.ts';
import {
  type CallOptions,
  type EvmClient,
  type EvmLog,
  type EvmReceipt,
  EvmRevertError,
} from '../ports/evm-client.ts';
import { createJsonRpc, type JsonRpcAnswer, type JsonRpcOptions } from './json-rpc.ts';

export interface EvmClientOptions extends JsonRpcOptions {
  network: string;
}

interface RpcLog {
  address: string;
  topics: string[];
  data: string;
  logIndex: string;
  transactionHash: string;
  blockNumber: string;
  blockHash: string;
}

interface RpcReceipt {
  transactionHash: string;
  blockNumber: string;
  blockHash: string;
  status: string;
  logs: RpcLog[];
}

const MAX_REASON_CHARACTERS = 200;

/** Reads an EVM node. A call that the contract refuses is told apart from a node that does not answer. */
export function createEvmClient(options: EvmClientOptions): EvmClient {
  const { title } = options;
  const rpc = createJsonRpc(options);

  const request = <T>(method: string, params: unknown[]) => resultOf<T>(method, rpc.call(method, params));
  const share = <T>(method: string, params: unknown[]) => resultOf<T>(method, rpc.callShared(method, params));

  async function resultOf<T>(method: string, answer: Promise<JsonRpcAnswer>): Promise<T> {
    const { result, error } = await answer;
    if (!error) return result as T;
    const { code, message = '' } = error;
    if (code === 3 || /revert/i.test(message)) throw new EvmRevertError(revertReason(message));
    throw rpc.refuse(method, error);
  }

  function callParameters(to: string, data: string, { from, gas, block }: CallOptions): unknown[] {
    const transaction = { to, data, ...(from ? { from } : {}), ...(gas ? { gas: toQuantity(gas) } : {}) };
    return [transaction, block === undefined ? 'latest' : toQuantity(block)];
  }

  return {
    network: options.network,
    chainId: async () => Number(await request<string>('eth_chainId', [])),
    blockNumber: async () => BigInt(await request<string>('eth_blockNumber', [])),
    async safeBlock() {
      const block = await request<{ number: string; timestamp: string } | null>('eth_getBlockByNumber', [
        'safe',
        false,
      ]);
      if (!block) throw unavailable(`the ${title} node's safe block`);
      return { number: BigInt(block.number), timestamp: BigInt(block.timestamp) };
    },
    async blockHash(number) {
      const block = await request<{ hash: string } | null>('eth_getBlockByNumber', [
        toQuantity(number),
        false,
      ]);
      return block?.hash.toLowerCase();
    },
    code: address => request<string>('eth_getCode', [address, 'latest']),
    balance: async address => BigInt(await request<string>('eth_getBalance', [address, 'latest'])),
    transactionCount: async address =>
      BigInt(await request<string>('eth_getTransactionCount', [address, 'latest'])),
    gasPrice: async () => BigInt(await request<string>('eth_gasPrice', [])),
    call(to, data, callOptions = {}) {
      const parameters = callParameters(to, data, callOptions);
      return callOptions.foreignCode
        ? request<string>('eth_call', parameters)
        : share<string>('eth_call', parameters);
    },
    sendRawTransaction: async raw => void (await share<string>('eth_sendRawTransaction', [raw])),
    async receipt(hash) {
      const receipt = await share<RpcReceipt | null>('eth_getTransactionReceipt', [hash]);
      if (!receipt) return undefined;
      const read = readReceipt(receipt);
      if (read.transactionHash !== hash.toLowerCase()) throw unavailable(`the ${title} node's own receipt`);
      return read;
    },
    async transactionData(hash) {
      const transaction = await request<{ input: string } | null>('eth_getTransactionByHash', [hash]);
      return transaction?.input.toLowerCase();
    },
    async logs(filter) {
      const range = { fromBlock: toQuantity(filter.fromBlock), toBlock: toQuantity(filter.toBlock) };
      const logs = await request<RpcLog[]>('eth_getLogs', [
        { address: filter.address, topics: filter.topics, ...range },
      ]);
      return logs.map(log => ({
        ...readLog(log),
        transactionHash: log.transactionHash.toLowerCase(),
        blockNumber: BigInt(log.blockNumber),
        blockHash: log.blockHash.toLowerCase(),
      }));
    },
  };
}

const toQuantity = (value: bigint): string => `0x${value.toString(16)}`;

function readReceipt(receipt: RpcReceipt): EvmReceipt {
  return {
    transactionHash: receipt.transactionHash.toLowerCase(),
    blockNumber: BigInt(receipt.blockNumber),
    blockHash: receipt.blockHash.toLowerCase(),
    succeeded: receipt.status === '0x1',
    logs: receipt.logs.map(readLog),
  };
}

function readLog(log: RpcLog): EvmLog {
  return {
    address: log.address.toLowerCase(),
    topics: log.topics.map(topic => topic.toLowerCase()),
    data: log.data.toLowerCase(),
    logIndex: Number(log.logIndex),
  };
}

function revertReason(message: string): string {
  return message.replace(/^.{0,80}?revert(?:ed)?:?\s*/i, '').slice(0, MAX_REASON_CHARACTERS);
}
