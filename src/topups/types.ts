import type { Customer } from '../customers/customers.ts';
import type { Purpose, PurposeResult } from '../payments/payment.ts';
import type { Environment } from '../ports/environment.ts';
import type { ExactPayment } from '../ports/payment.ts';

export type { Environment } from '../ports/environment.ts';

export interface TopupRequest {
  payment: ExactPayment;
  environment: Environment;
  /** Name of the dialect that accepted the payment. */
  source: string;
  /** Who is credited; the paying wallet's own customer when absent. */
  customer?: Customer;
  /** What the payment buys; plain credit when absent. */
  purchase?: Purchase;
}

/** Something that is bought by one payment, and the rules of who may buy it. */
export interface Purchase {
  /** Names what is bought and for what price: a repetition of the payment must be for the same terms. */
  terms: string;
  /**
   * Checks every rule of the business. Asked between verification and settlement, and not for a repetition, so
   * that nothing is refused after money moved and a lost answer can be had again.
   * @returns who is credited, and the purpose to store with the payment, of the same terms
   * @throws GatewayError when the purchase is refused; no money moves then, unless the payer has sent it already
   */
  prepare(): Promise<{ customer: Customer; purpose: Purpose }>;
  /** Who is credited when it is refused and the money has moved all the same; the paying wallet when absent. */
  creditor?(): Promise<Customer>;
}

/** Everything a top-up can come to; each dialect renders it in its own bytes. */
export type TopupOutcome =
  | {
      kind: 'credited';
      paymentId: string;
      amountNanoUsd: bigint;
      /** Available credit right after the credit: stored, so that a repeated payment gets the same answer. */
      balanceNanoUsd: bigint;
      network: string;
      payer: string;
      transaction: string;
      replayed: boolean;
      /** What the purchase came to; absent for plain credit. */
      purchase?: PurposeResult | undefined;
    }
  /** The same signed payment is being settled for another request. */
  | { kind: 'in_progress'; paymentId: string; retryAfterSeconds: number }
  /** Not known yet whether money moved; it will be credited once if it did. */
  | { kind: 'pending'; paymentId: string; transaction: string | undefined; retryAfterSeconds: number }
  /** Proven: no money moved. */
  | { kind: 'failed'; paymentId: string; reason: string; transaction: string | undefined }
  /** Refused before anything was sent; `reason` is an x402 error code. */
  | { kind: 'refused'; reason: string; message: string }
  /**
   * The payment belongs to another account; `settled` tells whether its outcome is known. `isOfPayer`: it was on the
   * chain before anybody showed it, so its money is plain credit of the wallet that paid. That follows from the chain
   * and our rules, so it may be told.
   */
  | { kind: 'conflict'; settled: boolean; isOfPayer?: boolean };

export interface Topups {
  /** @throws GatewayError `unavailable` when a part is down and nothing was submitted. */
  topUp(request: TopupRequest): Promise<TopupOutcome>;
}

/** What only a payment on Solana needs. */
export interface SolanaTerms {
  /** The receiver's token account and the program of the token. */
  tokenAccount: string;
  tokenProgram: string;
  /** Who pays the fee of a payment that is offered now; undefined while there is nobody. */
  feePayer: () => string | undefined;
}

/** One way to pay, as data; the surfaces render it. */
export interface PaymentOption {
  scheme: 'exact';
  /** CAIP-2. */
  network: string;
  /** Short name, e.g. `base`. */
  networkAlias: string;
  environment: Environment;
  /** Lower-case on EVM, as it is on Solana. */
  asset: string;
  assetDecimals: number;
  payTo: string;
  maxTimeoutSeconds: number;
  /** What a client needs to sign, e.g. the EIP-712 name and version of the token. */
  extra: Record<string, string>;
  /** Permit2 transfers are taken besides EIP-3009; `sponsored`: we pay for the payer's allowance. */
  permit2?: { sponsored: boolean };
  solana?: SolanaTerms;
}
