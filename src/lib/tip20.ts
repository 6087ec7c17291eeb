import { addressTopic } from './eip3009.ts';

/** TransferWithMemo(address indexed from, address indexed to, uint256 amount, bytes32 indexed memo) of TIP-20. */
const TRANSFER_WITH_MEMO = '0x57bc7354aa85aed339e000bccffabbc529466af35f0772c8f8ee1145927de7f0';

/** A log of a receipt; hex is lower-case. */
export interface TokenLog {
  address: string;
  topics: readonly string[];
  data: string;
  logIndex: number;
}

/** What is looked for in a receipt. Addresses and memo in lower case. */
export interface MemoTransfer {
  token: string;
  to: string;
  memo: string;
  /** Any sender when absent. */
  from?: string;
}

/** The first transfer in a receipt that carries this memo to this receiver. */
export function findMemoTransfer<L extends TokenLog>(
  logs: readonly L[],
  wanted: MemoTransfer,
): L | undefined {
  return logs.find(
    ({ address, topics }) =>
      address === wanted.token &&
      topics[0] === TRANSFER_WITH_MEMO &&
      topics[2] === addressTopic(wanted.to) &&
      topics[3] === wanted.memo &&
      (wanted.from === undefined || topics[1] === addressTopic(wanted.from)),
  );
}
