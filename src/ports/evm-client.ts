/** A call that the node executed and that reverted; `reason` is the contract's text when it gave one. */
export class EvmRevertError extends Error {
  constructor(readonly reason: string) {
    super(`execution reverted: ${reason}`);
    this.name = 'EvmRevertError';
  }
}

export interface EvmLog {
  address: string;
  topics: string[];
  data: string;
  logIndex: number;
}

/** A log as a search finds it: with the transaction and the block it is in. */
export interface EvmFoundLog extends EvmLog {
  transactionHash: string;
  blockNumber: bigint;
  blockHash: string;
}

export interface EvmReceipt {
  transactionHash: string;
  blockNumber: bigint;
  blockHash: string;
  succeeded: boolean;
  logs: EvmLog[];
}

export interface EvmLogFilter {
  address: string;
  /** A list in a place means any of its topics. */
  topics: (string | string[] | null)[];
  fromBlock: bigint;
  toBlock: bigint;
}

/** How a call is executed: as whom, with how much gas, and on the state after which block (newest if absent). */
export interface CallOptions {
  from?: string;
  gas?: bigint;
  block?: bigint;
  /** It runs code that somebody else chose, which may take its time: nobody else's call is to wait for it. */
  foreignCode?: boolean;
}

/**
 * One EVM node. Every call has a deadline. A node that does not answer, or answers with an error that is
 * not a revert, is `unavailable`: it says nothing about the payment. Hex is lower-case throughout.
 */
export interface EvmClient {
  readonly network: string;
  chainId(): Promise<number>;
  blockNumber(): Promise<bigint>;
  /** The newest block that cannot be reorganised any more; its time in Unix seconds. */
  safeBlock(): Promise<{ number: bigint; timestamp: bigint }>;
  /** Hash of a block of the chain as the node sees it now; undefined when it does not know so high a block. */
  blockHash(number: bigint): Promise<string | undefined>;
  code(address: string): Promise<string>;
  balance(address: string): Promise<bigint>;
  /** Number of the account's mined transactions, which is its first nonce that is still free. */
  transactionCount(address: string): Promise<bigint>;
  gasPrice(): Promise<bigint>;
  /** @throws EvmRevertError when the contract refuses. */
  call(to: string, data: string, options?: CallOptions): Promise<string>;
  sendRawTransaction(raw: string): Promise<void>;
  receipt(hash: string): Promise<EvmReceipt | undefined>;
  /** Call data of a transaction; undefined when the node does not know it. */
  transactionData(hash: string): Promise<string | undefined>;
  logs(filter: EvmLogFilter): Promise<EvmFoundLog[]>;
}
