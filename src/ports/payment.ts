/**
 * A payment as the core sees it: the protocol's version and header names are gone, the signed bytes are
 * not. The x402 v2 objects are kept because facilitators speak them.
 */
export interface ExactPayment {
  scheme: 'exact';
  /** CAIP-2, e.g. `eip155:8453`. */
  network: string;
  /** Token address in canonical form (EVM: lower-case). */
  asset: string;
  /** Receiver in canonical form. */
  payTo: string;
  /** The paying wallet in canonical form: the party whose money moves. */
  payer: string;
  /** Exactly what the payer signed, in the token's base units. */
  amountBaseUnits: bigint;
  /**
   * Unique name of the signed permission, known before anything is sent:
   * `eip3009:<chainId>:<token>:<from>:<nonce>`, all lower-case.
   */
  identity: string;
  authorization: Eip3009Authorization;
}

/** EIP-3009 TransferWithAuthorization with its signature; addresses and hex are lower-case. */
export interface Eip3009Authorization {
  kind: 'eip3009';
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
