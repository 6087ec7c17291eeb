import type { Chain, SettlementProof } from '../ports/chain.ts';
import type { ExactPayment } from '../ports/payment.ts';

const NOT_KNOWN: SettlementProof = { kind: 'unknown', used: false };

/**
 * Stands in for a chain that we have no node of: the transfer is what the facilitator says it is, and cannot be undone.
 * That a payment failed is never known here, because nobody but the chain can prove it.
 */
export function createTrustingChain(network: string): Chain {
  return {
    network,
    proveSettlement(payment: ExactPayment, { reported = [], saidSettled = false }) {
      const [transaction] = reported;
      if (!saidSettled || transaction === undefined) return Promise.resolve(NOT_KNOWN);
      const { asset, payer, payTo, amountBaseUnits } = payment;
      const transfer = {
        network,
        transaction,
        logIndex: 0,
        blockNumber: 0n,
        blockHash: '',
        asset,
        from: payer,
        to: payTo,
        amountBaseUnits,
      };
      return Promise.resolve({ kind: 'transferred', transfer, confirmations: Number.MAX_SAFE_INTEGER });
    },
    standing: places => Promise.resolve(places.map(() => 'final')),
    currentBlock: () => Promise.resolve(0n),
    earliestSettlementBlock: () => 0n,
    checkSetup: () => Promise.resolve([]),
  };
}
