import { cellName, type Queryable } from '../db/queryable.ts';
import type { PaymentState } from '../payments/payment.ts';
import { findPayment } from '../payments/payment-store.ts';

/** What anybody who knows a payment's id may see of it. */
export interface PaymentStatus {
  paymentId: string;
  state: PaymentState;
  reason: string | undefined;
  network: string;
  amountBaseUnits: bigint;
  creditedNanoUsd: bigint | undefined;
  transaction: string | undefined;
  final: boolean;
  createdAt: Date;
  updatedAt: Date;
}

export interface PaymentStatuses {
  find(paymentId: string): Promise<PaymentStatus | undefined>;
}

/** Looks a payment up by its id, in whichever cell it lives. */
export function createPaymentStatuses(db: Queryable): PaymentStatuses {
  return {
    async find(paymentId) {
      const claim = await db.query<{ cell: string }>({
        name: 'directory.find_payment_cell',
        text: 'SELECT cell FROM directory.payment_claim WHERE payment_id = $1',
        values: [paymentId],
      });
      const cell = claim.rows[0]?.cell;
      const payment = cell === undefined ? undefined : await findPayment(db, cellName(cell), paymentId);
      return (
        payment && {
          ...payment,
          network: payment.signed.network,
          amountBaseUnits: payment.signed.amountBaseUnits,
        }
      );
    },
  };
}
