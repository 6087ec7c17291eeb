/** One signed transaction of our own, stored before it is sent. */
export interface StoredTransaction {
  network: string;
  sender: string;
  nonce: bigint;
  hash: string;
  /** Signed bytes as 0x hex: whoever holds them can send them again, with the same effect once. */
  raw: string;
  paymentId: string;
}

/** Durable home of the sender's nonces and signed bytes. */
export interface SenderStore {
  /**
   * Takes the next nonce under a row lock, calls `sign` while it is held and stores the result before the
   * lock is released. When the payment already has a transaction, that one is returned and nothing is signed.
   * @param chainNonce the account's next nonce as the chain knows it, used when it is ahead of ours.
   */
  signOnce(
    key: { network: string; sender: string; paymentId: string },
    chainNonce: () => Promise<bigint>,
    sign: (nonce: bigint) => { hash: string; raw: string },
  ): Promise<StoredTransaction>;
  findByPayment(paymentId: string): Promise<StoredTransaction[]>;
  /** Transactions from this nonce on, oldest first: what a node that lost them must be given again. */
  listFromNonce(network: string, sender: string, nonce: bigint, limit: number): Promise<StoredTransaction[]>;
}
