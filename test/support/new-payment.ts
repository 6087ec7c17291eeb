import type { NewCredit } from '../../src/payments/payment-credit.ts';
import type { NewPayment } from '../../src/payments/payment-opening.ts';
import { BASE_USDC } from './payment.ts';

/** Where it goes matters to nobody who only stores it. */
export const SOMEBODY = `0x${'2'.repeat(40)}`;

export const BASE = 'eip155:8453';

/** The name that a payment on Base is claimed by. */
export function identityOf({ payer, nonce }: { payer: string; nonce: string }): string {
  return `eip3009:8453:${BASE_USDC}:${payer}:${nonce}`.toLowerCase();
}

/** A payment of $5 on Base as a request stores it, which nobody signed: for tests of the tables alone. */
export function newPayment(
  given: Pick<NewPayment, 'paymentId' | 'accountId'> & { payer: string; nonce: string },
): NewPayment {
  const { paymentId, accountId, payer, nonce } = given;
  return {
    paymentId,
    accountId,
    environment: 'live',
    source: 'test',
    facilitator: 'embedded',
    signed: {
      kind: 'eip3009',
      scheme: 'exact',
      network: BASE,
      asset: BASE_USDC.toLowerCase(),
      payTo: SOMEBODY,
      payer,
      amountBaseUnits: 5_000_000n,
      identity: identityOf(given),
      authorization: {
        from: payer,
        to: SOMEBODY,
        value: 5_000_000n,
        validAfter: 0n,
        validBefore: 1n,
        nonce,
        signature: '0x',
      },
    },
    fromBlock: 0n,
    leaseMs: 3_600_000,
    purpose: undefined,
    budget: { maxReverted: 1, windowMs: 1_000 },
  };
}

export const CREDIT_NANO_USD = 5_000_000_000n;

/** The credit of such a payment by a transfer that is named like its nonce. */
export function newCredit(
  given: Pick<NewCredit, 'paymentId' | 'accountId'> & { payer: string; nonce: string },
): NewCredit {
  const { paymentId, accountId, payer, nonce } = given;
  return {
    paymentId,
    accountId,
    transfer: {
      network: BASE,
      transaction: nonce,
      logIndex: 0,
      blockNumber: 1n,
      blockHash: '0xblock',
      asset: BASE_USDC.toLowerCase(),
      from: payer,
      to: SOMEBODY,
      amountBaseUnits: 5_000_000n,
    },
    amountNanoUsd: CREDIT_NANO_USD,
    contra: 100,
    firstCheckMs: 3_600_000,
    now: new Date(),
  };
}
