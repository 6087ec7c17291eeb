import { unavailable } from '../lib/errors.ts';
import {
  type CallOptions,
  type EvmClient,
  type EvmLog,
  type EvmReceipt,
  EvmRevertError,
} from '../ports/evm-client.ts';

export interface EvmClientOptions {
  network: string;
  title: string;
  rpcUrl: string;
  /** Deadline of one call, from the first byte sent to the last byte read. */
  timeoutMs: number;
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

interface RpcError {
  code?: number;
  message?: string;
}

/** An answer longer than this is not one that we asked for. */
const MAX_ANSWER_CHARACTERS = 8_000_000;

const MAX_ERROR_CHARACTERS = 200;

/** What the node said instead of a result. It never holds the URL, whose path is often a key. */
class NodeAnswerError extends Error {
  constructor(method: string, what: string) {
    super(`${method}: ${what}`.slice(0, MAX_ERROR_CHARACTERS));
    this.name = 'NodeAnswerError';
  }
}

/**
 * Talks JSON-RPC to one node. Written on fetch because the deadline has to cover the whole answer and no
 * header of the node may stretch it, which the usual clients do not promise.
 */
export function createEvmClient(options: EvmClientOptions): EvmClient {
  const url = new URL(options.rpcUrl);
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (url.username || url.password) {
    const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    headers['authorization'] = `Basic ${Buffer.from(credentials).toString('base64')}`;
    url.username = '';
    url.password = '';
  }

  async function post(method: string, params: unknown[]): Promise<{ result?: unknown; error?: RpcError }> {
    const answer = await fetch(url, {
      method: 'POST',
      headers,
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
      redirect: 'error',
      signal: AbortSignal.timeout(options.timeoutMs),
    });
    const text = await answer.text();
    if (text.length > MAX_ANSWER_CHARACTERS) throw new NodeAnswerError(method, 'the answer is too long');
    try {
      return JSON.parse(text) as { result?: unknown; error?: RpcError };
    } catch {
      throw new NodeAnswerError(method, `HTTP ${answer.status} without JSON`);
    }
  }

  async function request<T>(method: string, params: unknown[]): Promise<T> {
    let answer: { result?: unknown; error?: RpcError };
    try {
      answer = await post(method, params);
    } catch (error) {
      throw unavailable(`the ${options.title} node`, describeFailure(method, error));
    }
    if (answer.error) {
      const { code, message = '' } = answer.error;
      if (code === 3 || /revert/i.test(message)) throw new EvmRevertError(revertReason(message));
      throw unavailable(
        `the ${options.title} node`,
        new NodeAnswerError(method, `error ${code}: ${message}`),
      );
    }
    return answer.result as T;
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
      if (!block) throw unavailable(`the ${options.title} node's safe block`);
      return { number: BigInt(block.number), timestamp: BigInt(block.timestamp) };
    },
    code: address => request<string>('eth_getCode', [address, 'latest']),
    balance: async address => BigInt(await request<string>('eth_getBalance', [address, 'latest'])),
    transactionCount: async address =>
      BigInt(await request<string>('eth_getTransactionCount', [address, 'latest'])),
    gasPrice: async () => BigInt(await request<string>('eth_gasPrice', [])),
    call: (to, data, callOptions = {}) => request<string>('eth_call', callParameters(to, data, callOptions)),
    sendRawTransaction: async raw => void (await request<string>('eth_sendRawTransaction', [raw])),
    async receipt(hash) {
      const receipt = await request<RpcReceipt | null>('eth_getTransactionReceipt', [hash]);
      return receipt ? readReceipt(receipt) : undefined;
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
  return message.replace(/^.{0,80}?revert(?:ed)?:?\s*/i, '').slice(0, MAX_ERROR_CHARACTERS);
}

/** The kind of failure without the address it was met at. */
function describeFailure(method: string, error: unknown): Error {
  if (error instanceof NodeAnswerError) return error;
  const cause = (error as { cause?: { code?: unknown } }).cause;
  const code = typeof cause?.code === 'string' ? cause.code : (error as Error).name;
  return new NodeAnswerError(method, code);
}
