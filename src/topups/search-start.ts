import type { Chain } from '../ports/chain.ts';
import type { ExactPayment } from '../ports/payment.ts';

/** Blocks before the one we see that a transfer could still appear in, when nodes disagree about the newest. */
const HEAD_MARGIN_BLOCKS = 50n;

/**
 * First block to search for the transfer of a payment that is accepted now.
 * @param knownAt a block at which the chain would have taken it, where the verification saw one
 * @throws GatewayError `unavailable` when the node does not answer, or does not know what the payment rests on
 */
export async function searchStart(chain: Chain, payment: ExactPayment, knownAt?: bigint): Promise<bigint> {
  const head = knownAt ?? (await chain.currentBlock(payment));
  return head > HEAD_MARGIN_BLOCKS ? head - HEAD_MARGIN_BLOCKS : 0n;
}
