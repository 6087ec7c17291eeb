import type { SettlementProof } from '../ports/chain.ts';
import type { ExactPayment } from '../ports/payment.ts';
import type { Look, SettlementNetwork } from './settlement.ts';

/** What the chain knows of a payment that somebody else may have sent before it was shown to us. */
export async function lookForUse(
  payment: ExactPayment,
  { chain }: Pick<SettlementNetwork, 'chain'>,
): Promise<{ proof: SettlementProof; fromBlock: bigint }> {
  const fromBlock = chain.earliestSettlementBlock(await chain.currentBlock());
  return { proof: await chain.proveSettlement(payment, { transactions: [], fromBlock }), fromBlock };
}

/**
 * Whether its money may be with us in a moment. On Solana a transaction that was found and proves nothing yet is too young;
 * on EVM networks a permission that is used without a transfer to us was used for something else, or long ago.
 */
export function isArriving({ kind }: ExactPayment, proof: Look): boolean {
  return kind === 'solana' && proof.kind === 'unknown' && proof.used;
}
