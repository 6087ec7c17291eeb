import { type SvmTransactionView, viewOf } from '../lib/svm-transaction.ts';
import type { PaymentChecks } from '../ports/facilitator.ts';
import { requireKind, type SolanaPayment } from '../ports/payment.ts';
import { isSignedByPayer } from './svm-rules.ts';

/** A durable nonce is used by this program's instruction AdvanceNonceAccount, which has to be the first. */
const SYSTEM_PROGRAM = '11111111111111111111111111111111';

/** The wire bytes of a payment. */
export function wireOf({ transaction }: SolanaPayment): Uint8Array {
  return Uint8Array.from(Buffer.from(transaction.wire, 'base64'));
}

/** @returns undefined unless the bytes are the payment that the identity names. */
export function readSolanaPayment(payment: SolanaPayment): SvmTransactionView | undefined {
  const view = viewOf(payment.transaction);
  return view && payment.identity.endsWith(`:${view.messageHash}`) ? view : undefined;
}

/** What can be told about Solana payments without any outside call. */
export const svmChecks: PaymentChecks = {
  async verifySignature(payment) {
    const view = readSolanaPayment(requireKind(payment, 'solana'));
    return view !== undefined && isSignedByPayer(view);
  },
  // How long it is valid only the chain can tell: a transaction names a blockhash and no time. One that names a durable
  // nonce instead has no end, and nobody could ever prove that its money will not move.
  checkTerms(payment) {
    const view = readSolanaPayment(requireKind(payment, 'solana'));
    if (view?.instructions[0]?.program !== SYSTEM_PROGRAM) return undefined;
    return {
      kind: 'invalid',
      reason: 'invalid_exact_svm_payload_transaction_instructions',
      message: 'a transaction with a durable nonce is not accepted',
    };
  },
};
