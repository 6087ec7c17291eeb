/** A transaction that we have signed as the fee payer, stored before it is sent. */
export interface SvmSignedTransaction {
  /** Base58; it names the transaction on chain. */
  signature: string;
  /** Wire bytes as base64: they can be sent any number of times and take effect once. */
  wire: string;
}

/** One that may still be waiting for a block. */
export interface SvmLiveTransaction extends SvmSignedTransaction {
  /** Since it was signed. */
  ageMs: number;
}

/** The account that pays the fee, on one network. */
export interface FeePayerKey {
  /** CAIP-2. */
  network: string;
  feePayer: string;
}

/**
 * Durable home of the transactions that we signed, shared by all replicas. One that is live may still be
 * waiting for a block; which those are is only a matter of effort, never of truth.
 */
export interface SvmSenderStore {
  /** Stores a payment's transaction; when it has one already, that one stays and is returned. */
  store(key: FeePayerKey, paymentId: string, signed: SvmSignedTransaction): Promise<SvmSignedTransaction>;
  find(paymentId: string): Promise<SvmSignedTransaction | undefined>;
  /**
   * Live transactions of a network, oldest first, without the first `skip` of them; also those of a key that was ours
   * before, because their bytes are as good as ever.
   */
  listLive(network: string, page: { limit: number; skip: number }): Promise<SvmLiveTransaction[]>;
  countLive(key: FeePayerKey): Promise<number>;
  /** Marks transactions as no longer waiting. */
  finish(network: string, signatures: readonly string[]): Promise<void>;
}
