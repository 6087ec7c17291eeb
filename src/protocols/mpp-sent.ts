import { topicAddress } from '../lib/eip3009.ts';
import { GatewayError } from '../lib/errors.ts';
import { findMemoTransfer } from '../lib/tip20.ts';
import type { TempoClient } from '../ports/tempo-client.ts';
import { failed } from './mpp-refusal.ts';

/** A transfer that its payer has sent before it was shown to us. */
export interface SentTransfer {
  /** Whose money the token says has moved. */
  payer: string;
  amountBaseUnits: bigint;
  memo: string;
  /** Why it does not pay for what is asked. Its money has moved, so it is not refused for that. */
  unfit: string | undefined;
}

/** What the transfer should be; addresses in lower case. */
export interface ExpectedTransfer {
  token: string;
  recipient: string;
  amountBaseUnits: bigint;
  /** Whether a memo names this server and this challenge. */
  isMemo: (memo: string) => boolean;
  /** Who the credential says has paid, as a DID; nothing is said when absent. */
  source: string | undefined;
  chainId: number;
}

const RETRY_AFTER_SECONDS = 2;

/**
 * Reads a transfer from the chain.
 * @throws MppRefusal when the transaction has moved no money of this challenge to us; GatewayError
 * `settlement_pending` while it is in no block that our node knows, `unavailable`
 */
export async function readSentTransfer(
  client: TempoClient,
  hash: string,
  expected: ExpectedTransfer,
): Promise<SentTransfer> {
  const receipt = await client.receipt(hash);
  if (!receipt) {
    // A node that is behind says the same of money that has moved, and whoever is refused pays again.
    throw new GatewayError(
      'settlement_pending',
      'the transaction is in no block that this server knows; send the same credential again and do not pay again',
      { retryAfterSeconds: RETRY_AFTER_SECONDS },
    );
  }
  if (!receipt.succeeded) throw failed('the transaction has failed on chain');
  const { token, recipient, amountBaseUnits } = expected;
  const log = findMemoTransfer(receipt.logs, {
    token,
    to: recipient,
    isMemo: expected.isMemo,
    amountBaseUnits,
  });
  const moved = log ? BigInt(log.data) : 0n;
  if (!log || moved === 0n) throw failed('the transaction has made no transfer to us for this challenge');
  const payer = topicAddress(log.topics[1]);
  return {
    payer,
    amountBaseUnits: moved,
    memo: log.topics[3] ?? '',
    unfit: unfitOf(expected, { moved, payer, sender: await client.sender(hash) }),
  };
}

/** Who may move another's money by an allowance is not that other, and is not told what is theirs. */
function unfitOf(
  { amountBaseUnits, source, chainId }: ExpectedTransfer,
  { moved, payer, sender }: { moved: bigint; payer: string; sender: string | undefined },
): string | undefined {
  if (moved !== amountBaseUnits) return 'another amount was paid than was asked';
  if (sender !== payer) return 'the money was moved by another account than it came from';
  if (source !== undefined && source.toLowerCase() !== `did:pkh:eip155:${chainId}:${payer}`) {
    return 'the money did not come from the source of the credential';
  }
  return undefined;
}
