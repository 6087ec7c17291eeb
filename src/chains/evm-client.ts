import { BaseError, type EIP1193RequestFn, http, RpcRequestError } from 'viem';
import { unavailable } from '../lib/errors.ts';
import { type EvmClient, type EvmLog, type EvmReceipt, EvmRevertError } from '../ports/evm-client.ts';

export interface EvmClientOptions {
  network: string;
  title: string;
  rpcUrl: string;
  /** Deadline of one call. */
  timeoutMs: number;
}

interface RpcLog {
  address: string;
  topics: string[];
  data: string;
  logIndex: string;
  transactionHash: string;
  blockNumber: string;
}

interface RpcReceipt {
  transactionHash: string;
  blockNumber: string;
  blockHash: string;
  status: string;
  logs: RpcLog[];
}

/** Talks JSON-RPC to one node through viem's HTTP transport. */
export function createEvmClient(options: EvmClientOptions): EvmClient {
  const transport = http(options.rpcUrl, { timeout: options.timeoutMs, retryCount: 1, retryDelay: 100 })({});
  const send = transport.request as EIP1193RequestFn;

  async function request<T>(method: string, params: unknown[]): Promise<T> {
    try {
      return (await send({ method, params } as never)) as T;
    } catch (error) {
      throw revertOf(error) ?? unavailable(`the ${options.title} node`, error);
    }
  }

  return {
    network: options.network,
    chainId: async () => Number(await request<string>('eth_chainId', [])),
    blockNumber: async () => BigInt(await request<string>('eth_blockNumber', [])),
    async safeTimestamp() {
      const block = await request<{ timestamp: string } | null>('eth_getBlockByNumber', ['safe', false]);
      if (!block) throw unavailable(`the ${options.title} node's safe block`);
      return BigInt(block.timestamp);
    },
    code: address => request<string>('eth_getCode', [address, 'latest']),
    balance: async address => BigInt(await request<string>('eth_getBalance', [address, 'latest'])),
    transactionCount: async address =>
      BigInt(await request<string>('eth_getTransactionCount', [address, 'latest'])),
    gasPrice: async () => BigInt(await request<string>('eth_gasPrice', [])),
    call: (to, data, from) =>
      request<string>('eth_call', [{ to, data, ...(from ? { from } : {}) }, 'latest']),
    sendRawTransaction: async raw => void (await request<string>('eth_sendRawTransaction', [raw])),
    async receipt(hash) {
      const receipt = await request<RpcReceipt | null>('eth_getTransactionReceipt', [hash]);
      return receipt ? readReceipt(receipt) : undefined;
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

/**
 * A revert is an answer of the contract; every other error is the node's. JSON-RPC code 3 is the usual
 * marker, but nodes differ, so the text decides as well.
 */
function revertOf(error: unknown): EvmRevertError | undefined {
  if (!(error instanceof BaseError)) return undefined;
  const answer = error.walk(e => e instanceof RpcRequestError);
  if (!(answer instanceof RpcRequestError)) return undefined;
  const text = answer.details;
  if (answer.code !== 3 && !/revert/i.test(text)) return undefined;
  return new EvmRevertError(text.replace(/^.*?revert(?:ed)?:?\s*/i, '').slice(0, 200));
}
