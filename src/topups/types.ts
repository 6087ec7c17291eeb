import type { ExactPayment } from '../ports/payment.ts';

export type Environment = 'live' | 'test';

export interface TopupRequest {
  payment: ExactPayment;
  environment: Environment;
  /** Name of the dialect that the payment came in by. */
  source: string;
}

/** What became of a presented payment. */
export type TopupOutcome =
  | {
      kind: 'credited';
      paymentId: string;
      amountNanoUsd: bigint;
      /** Available right after the credit, stored with it: a replay answers the same figure. */
      balanceNanoUsd: bigint;
      network: string;
      payer: string;
      transaction: string;
      /** True when this payment had been credited before this call. */
      replayed: boolean;
    }
  | { kind: 'in_progress'; paymentId: string; retryAfterSeconds: number }
  /** Submitted with unknown outcome: the money may still arrive and will then be credited. */
  | { kind: 'pending'; paymentId: string; transaction: string | undefined; retryAfterSeconds: number }
  /** Proven: this payment moved no money and never will. */
  | { kind: 'failed'; paymentId: string; reason: string; transaction: string | undefined }
  /** Refused before anything was sent; `reason` is an x402 error code. */
  | { kind: 'refused'; reason: string; message: string }
  /** The same permission was presented for another account; nothing more is told. */
  | { kind: 'conflict' };

export interface Topups {
  /** @throws GatewayError `unavailable` when nothing was submitted and a part is down. */
  topUp(request: TopupRequest): Promise<TopupOutcome>;
}

/** One way to pay, as data; the surfaces render it. */
export interface PaymentOption {
  scheme: 'exact';
  /** CAIP-2. */
  network: string;
  /** The short name that older clients use, e.g. `base`. */
  networkAlias: string;
  /** Token address, lower-case. */
  asset: string;
  assetDecimals: number;
  payTo: string;
  maxTimeoutSeconds: number;
  /** Further fields of the x402 payment requirements (EVM: EIP-712 name and version of the token). */
  extra: Record<string, string>;
}
