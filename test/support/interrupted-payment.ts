import type { Pool } from 'pg';
import { expect } from 'vitest';
import type { Customer } from '../../src/customers/customers.ts';
import { transferCallData } from '../../src/lib/eip3009.ts';
import { newId } from '../../src/lib/ids.ts';
import { claimPayment } from '../../src/payments/payment-claim.ts';
import { sendAsPayer } from './chain.ts';
import { BASE_USDC, createPayer, type SignedPayment } from './payment.ts';

/** Puts a payment on the chain without us. */
export async function sendByStranger({ authorization, signature }: SignedPayment): Promise<void> {
  const [from, to] = [authorization.from.toLowerCase(), authorization.to.toLowerCase()];
  const data = transferCallData({ ...authorization, from, to }, signature);
  await sendAsPayer(await createPayer(0n), BASE_USDC, data);
}

/** Leaves what is left of a payment when its process dies right after having claimed it. */
export async function leaveClaim(sql: Pool, { authorization }: SignedPayment, customer: Customer) {
  const { from, nonce } = authorization;
  const identity = `eip3009:8453:${BASE_USDC}:${from}:${nonce}`.toLowerCase();
  const claim = { ...customer, identity, paymentId: newId(), environment: 'live' as const };
  expect(await claimPayment(sql, claim)).toMatchObject({ claimed: true });
}
