import type { TransactionError } from './transaction-error.ts';

/** What a token account held, in the shape of `preTokenBalances`. */
export interface TokenBalance {
  accountIndex: number;
  mint: string;
  owner: string;
  programId: string;
  uiTokenAmount: { amount: string; decimals: number; uiAmount: number | null; uiAmountString: string };
}

export interface InnerInstructions {
  index: number;
  instructions: { programIdIndex: number; accounts: number[]; data: string; stackHeight: number }[];
}

/** A transaction that ran, with the protocol's own shape of what it did. */
export interface TransactionRecord {
  signature: string;
  /** Unix seconds. */
  blockTime: number;
  slot: number;
  /** The wire bytes in base64. */
  wire: string;
  /** Hex SHA-256 of what was signed. */
  messageHash: string;
  /** Every account that it names, looked-up ones last, in the order of its indexes. */
  accounts: string[];
  err: TransactionError | null;
  fee: number;
  memo: string | null;
  computeUnitsConsumed: number;
  logMessages: string[];
  innerInstructions: InnerInstructions[];
  preBalances: number[];
  postBalances: number[];
  preTokenBalances: TokenBalance[];
  postTokenBalances: TokenBalance[];
  loadedAddresses: { writable: string[]; readonly: string[] };
  returnData: { programId: string; data: [string, 'base64'] } | null;
}

/** More than a sandbox sees in a day; older transactions are forgotten, as by a node with a small disk. */
const MAX_TRANSACTIONS = 20_000;
const FORGOTTEN_AT_ONCE = 5_000;

/** Every transaction that ran, oldest first. */
export interface History {
  add(record: TransactionRecord): void;
  bySignature(signature: string): TransactionRecord | undefined;
  hasMessage(messageHash: string): boolean;
  /** Oldest first. */
  byAccount(address: string): readonly TransactionRecord[];
  count(): number;
  /** From here on nothing was forgotten. */
  firstSlot(): number;
  /** What was added since the last call, for saving. */
  takeAdded(): TransactionRecord[];
  /** Undoes {@link History.takeAdded} when saving failed. */
  putBack(added: readonly TransactionRecord[]): void;
}

export function createHistory(saved: readonly TransactionRecord[]): History {
  let records: TransactionRecord[] = [];
  let added: TransactionRecord[] = [];
  let firstSlot = 0;
  const signatures = new Map<string, TransactionRecord>();
  const messages = new Set<string>();
  const accounts = new Map<string, TransactionRecord[]>();

  function list(record: TransactionRecord): void {
    records.push(record);
    signatures.set(record.signature, record);
    messages.add(record.messageHash);
    for (const address of new Set(record.accounts)) {
      const known = accounts.get(address);
      if (known) known.push(record);
      else accounts.set(address, [record]);
    }
    if (records.length > MAX_TRANSACTIONS) forgetOldest();
  }

  function forgetOldest(): void {
    const kept = records.slice(FORGOTTEN_AT_ONCE);
    firstSlot = kept[0]?.slot ?? 0;
    records = [];
    for (const index of [signatures, messages, accounts]) index.clear();
    for (const record of kept) list(record);
  }

  if (saved.length > MAX_TRANSACTIONS) firstSlot = saved.at(-MAX_TRANSACTIONS)?.slot ?? 0;
  for (const record of saved.slice(-MAX_TRANSACTIONS)) list(record);
  return {
    add(record) {
      list(record);
      added.push(record);
    },
    bySignature: signature => signatures.get(signature),
    hasMessage: messageHash => messages.has(messageHash),
    byAccount: address => accounts.get(address) ?? [],
    count: () => records.length,
    firstSlot: () => firstSlot,
    takeAdded() {
      const taken = added;
      added = [];
      return taken;
    },
    putBack(taken) {
      added = [...taken, ...added];
    },
  };
}
