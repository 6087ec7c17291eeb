import { isDeepStrictEqual } from 'node:util';
import { assertNever } from '../lib/assert.ts';
import type { ExactPayment } from '../ports/payment.ts';

/**
 * How a payment relates to a stored one of the same identity: the same to the last byte; the same permission
 * with other signature bytes, which may be another encoding or a forgery; or another permission.
 */
export type Likeness = 'same' | 'resigned' | 'different';

export function comparePayments(presented: ExactPayment, stored: ExactPayment): Likeness {
  const a = splitSignature(presented);
  const b = splitSignature(stored);
  if (!isDeepStrictEqual(a.content, b.content)) return 'different';
  return a.signature === b.signature ? 'same' : 'resigned';
}

function splitSignature(payment: ExactPayment): { content: unknown; signature: string } {
  switch (payment.kind) {
    case 'eip3009': {
      const { signature, ...content } = payment.authorization;
      return { content, signature };
    }
    case 'permit2': {
      // The allowance is no part of what is paid, and the payer may have to sign a new one.
      const { signature, allowance: _, ...content } = payment.permit;
      return { content, signature };
    }
    case 'solana':
      // The identity is the hash of everything that is signed.
      return { content: payment.identity, signature: payment.transaction.wire };
    case 'tempo':
      // The identity is the hash of the transaction, signature included.
      return { content: payment.identity, signature: '' };
    default:
      return assertNever(payment);
  }
}
