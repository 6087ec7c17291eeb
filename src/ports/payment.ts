import { assert } from '../lib/assert.ts';

/** What every signed payment says, however it is signed. */
interface PaymentTerms {
  scheme: 'exact';
  /** CAIP-2, e.g. `eip155:8453`. */
  network: string;
  /** Token address in canonical form (EVM: lower-case, Solana: base58 as it is). */
  asset: string;
  /** Receiver in canonical form. */
  payTo: string;
  /** The paying wallet in canonical form: the party whose money moves. */
  payer: string;
  /** Exactly what the payer signed, in the token's base units. */
  amountBaseUnits: bigint;
  /**
   * Unique name of the signed permission, known before anything is sent:
   * `eip3009:<chainId>:<token>:<from>:<nonce>` or `permit2:<chainId>:<from>:<nonce>` in lower case,
   * `svm:<genesis>:<sha256 of the message>`,
   * or `mpp:<chainId>:<transaction hash>`.
   */
  identity: string;
}

export interface Eip3009Payment extends PaymentTerms {
  kind: 'eip3009';
  authorization: Eip3009Authorization;
}

export interface Permit2Payment extends PaymentTerms {
  kind: 'permit2';
  permit: Permit2Authorization;
}

export interface SolanaPayment extends PaymentTerms {
  kind: 'solana';
  transaction: SolanaTransaction;
}

export interface TempoPayment extends PaymentTerms {
  kind: 'tempo';
  transfer: TempoTransfer;
}

/**
 * A payment as the core sees it: the protocol's version and header names are gone, the signed bytes are
 * not. The core moves it along; what is inside a kind is the business of its chain and its facilitator.
 */
export type ExactPayment = Eip3009Payment | Permit2Payment | SolanaPayment | TempoPayment;

export type PaymentKind = ExactPayment['kind'];

/** Narrows a payment to the kind an adapter was built for; another one never reaches it. */
export function requireKind<K extends PaymentKind>(
  payment: ExactPayment,
  kind: K,
): Extract<ExactPayment, { kind: K }> {
  assert(payment.kind === kind, `a ${kind} payment`);
  return payment as Extract<ExactPayment, { kind: K }>;
}

/** Whether the money has moved before the payment was shown to us: then nothing about it can be refused any more. */
export function isSentByPayer(payment: ExactPayment): boolean {
  return payment.kind === 'tempo' && payment.transfer.raw === undefined;
}

/** EIP-3009 TransferWithAuthorization with its signature; addresses and hex are lower-case. */
export interface Eip3009Authorization {
  from: string;
  to: string;
  value: bigint;
  /** Unix seconds; the token requires block time strictly above. */
  validAfter: bigint;
  /** Unix seconds; the token requires block time strictly below. */
  validBefore: bigint;
  /** 32 random bytes as 0x hex. */
  nonce: string;
  /** 0x hex; 65 bytes for a key, anything for a contract wallet. */
  signature: string;
}

/** A Permit2 transfer with x402's witness and its signature; addresses and hex are lower-case. */
export interface Permit2Authorization {
  from: string;
  /** The receiver, signed as the witness. */
  to: string;
  token: string;
  amount: bigint;
  /** One of 2^256 numbers of the owner, used in any order. */
  nonce: bigint;
  /** Unix seconds; Permit2 refuses later blocks. */
  deadline: bigint;
  /** Unix seconds; the proxy refuses earlier blocks. */
  validAfter: bigint;
  /** 0x hex; 64 or 65 bytes for a key, anything for a contract wallet. */
  signature: string;
  /** Lets Permit2 move the amount (EIP-2612), for a payer that has not sent an approval; 65 bytes of signature. */
  allowance?: { nonce: bigint; deadline: bigint; signature: string };
}

/** A Solana transaction that the payer has signed and the fee payer has not; addresses are base58. */
export interface SolanaTransaction {
  /** The wire bytes as base64. */
  wire: string;
  /** Who pays the network's fee and signs last. */
  feePayer: string;
  /** The recent blockhash it names; the chain takes it for about 150 blocks after that one. */
  blockhash: string;
  /** Token account the money leaves. */
  source: string;
  /** Token account the money comes to. */
  destination: string;
  /** The memo that the accepted requirements demand. */
  memo?: string;
}

/** A transfer of a TIP-20 token on Tempo, bound to an MPP challenge by its memo; hex is lower-case. */
export interface TempoTransfer {
  /** Transaction hash: of the bytes below, or of what the payer has sent itself. */
  hash: string;
  /** Signed by the payer and for us to send; absent when the payer has sent it. */
  raw?: string;
  /** Unix seconds at which the chain stops taking the signed bytes; 0 when the payer has sent them. */
  validBefore: bigint;
  /** 32 bytes: the server's and the challenge's fingerprints. */
  memo: string;
  /** The credential as it was presented, which the verification reads. */
  credential: string;
}
