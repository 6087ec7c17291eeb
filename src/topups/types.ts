import type { Customer } from '../customers/customers.ts';
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
    }
  /** The same signed payment is being settled for another request. */
  | { kind: 'in_progress'; paymentId: string; retryAfterSeconds: number }
  /** Not known yet whether money moved; it will be credited once if it did. */
  | { kind: 'pending'; paymentId: string; transaction: string | undefined; retryAfterSeconds: number }
  /** Proven: no money moved. */
  | { kind: 'failed'; paymentId: string; reason: string; transaction: string | undefined }
  /** Refused before anything was sent; `reason` is an x402 error code. */
  | { kind: 'refused'; reason: string; message: string }
  /** The payment belongs to another account; `settled` tells whether its outcome is known. */
  | { kind: 'conflict'; settled: boolean };

export interface Topups {
  /** @throws GatewayError `unavailable` when a part is down and nothing was submitted. */
  topUp(request: TopupRequest): Promise<TopupOutcome>;
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
  /** What a client needs to sign: the EIP-712 name and version of the token, or who pays Solana's fee. */
  extra: Record<string, string>;
  /** On Solana: the receiver's token account and the program of the token. */
  solana?: { tokenAccount: string; tokenProgram: string };
}
