import { addressTopic } from './eip3009.ts';

/** TransferWithMemo(address indexed from, address indexed to, uint256 amount, bytes32 indexed memo) of TIP-20. */
export const TRANSFER_WITH_MEMO = '0x57bc7354aa85aed339e000bccffabbc529466af35f0772c8f8ee1145927de7f0';

/** A log of a receipt; hex is lower-case. */
export interface TokenLog {
  address: string;
  topics: readonly string[];
  data: string;
  logIndex: number;
}

/** What is looked for in a receipt. Addresses and memos in lower case. */
export interface MemoTransfer {
  token: string;
  to: string;
  isMemo: (memo: string) => boolean;
  /** Any sender when absent. */
  from?: string;
  amountBaseUnits: bigint;
}

/** The transfer of this amount in a receipt that carries the memo to the receiver, else the first of another amount. */
export function findMemoTransfer<L extends TokenLog>(
  logs: readonly L[],
  wanted: MemoTransfer,
): L | undefined {
  const found = logs.filter(
    ({ address, topics }) =>
      address === wanted.token &&
      topics[0] === TRANSFER_WITH_MEMO &&
      topics[2] === addressTopic(wanted.to) &&
      topics[3] !== undefined &&
      wanted.isMemo(topics[3]) &&
      (wanted.from === undefined || topics[1] === addressTopic(wanted.from)),
  );
  return found.find(({ data }) => BigInt(data) === wanted.amountBaseUnits) ?? found[0];
}
