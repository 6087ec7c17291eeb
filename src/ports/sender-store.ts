/** One signed transaction of our own, stored before it is sent. */
export interface SignedTransaction {
  nonce: bigint;
  /** 0x hex, lower-case. */
  hash: string;
  /** Signed bytes as 0x hex: they can be sent any number of times and take effect once. */
  raw: string;
}

/** The bytes that were signed for a payment. */
export interface SignedPayment {
  paymentId: string;
  signed: SignedTransaction;
}

/** One that was stored, with the address of the key that signed it. */
export interface StoredTransaction extends SignedTransaction {
  sender: string;
}

export type StoreOutcome =
  | { kind: 'stored' }
  /** The payment was signed before: those bytes are the ones to send. */
  | { kind: 'existing'; transaction: SignedTransaction }
  /** Another process took the nonce: sign again with this one. */
  | { kind: 'stale'; nextNonce: bigint };

/** The key that signs, on one network. */
export interface SenderKey {
  /** CAIP-2. */
  network: string;
  /** Lower-case address. */
  sender: string;
}

/** Transactions that are signed and not mined. */
export interface WaitingTransactions {
  count: number;
  /** Age of the oldest by the database's clock; 0 without any. */
  oldestMs: number;
}

/**
 * Durable home of the sender's nonces and signed bytes, shared by all replicas. Whatever changes nonces does
 * so under one row lock. A transaction is live until another takes its place; its hash is kept either way.
 */
export interface SenderStore {
  /** Raises our next nonce to the chain's, so that transactions made elsewhere with the key do no harm. */
  initialise(key: SenderKey, mined: bigint): Promise<bigint>;
  /**
   * Stores the bytes of each payment if their nonce is the next one and the payment has no live transaction.
   * @param guesses with consecutive nonces; all are stored in one commit. @returns an outcome for each
   */
  store(key: SenderKey, guesses: readonly SignedPayment[]): Promise<StoreOutcome[]>;
  /**
   * As {@link store}, with the next nonce held under its row lock while each `sign` runs: for a sender whose
   * guess was wrong, and that could lose every further guess to a faster replica. Never `stale`.
   */
  storeLocked(
    key: SenderKey,
    requests: readonly { paymentId: string; sign(nonce: bigint): SignedTransaction }[],
  ): Promise<SignedTransaction[]>;
  /** Stores other bytes with the same nonce in the place of `old`. @returns false when `old` is not live. */
  replace(key: SenderKey, old: SignedTransaction, signed: SignedTransaction): Promise<boolean>;
  /** Gives a payment's transaction up, because its nonce was taken by another: the payment is signed anew. */
  supersede(key: SenderKey, transaction: SignedTransaction): Promise<void>;
  /**
   * Lowers our next nonce to the chain's when nothing was signed from there on.
   * @returns otherwise the nonces without a live transaction that hold later ones up, lowest first.
   */
  closeGap(key: SenderKey, mined: bigint, limit: number): Promise<bigint[]>;
  /** Stores a transaction of no payment at a nonce that has none. @returns false when it has one now. */
  fill(key: SenderKey, signed: SignedTransaction): Promise<boolean>;
  /** Every transaction that was ever signed for a payment, by any key, the live one first; any of them can be the one mined. */
  findByPayment(paymentId: string): Promise<StoredTransaction[]>;
  /** Live transactions from this nonce on, lowest first: what a node that lost them is given again. */
  listLive(key: SenderKey, fromNonce: bigint, limit: number): Promise<SignedTransaction[]>;
  /** How many live transactions there are from this nonce on, and for how long. */
  countLive(key: SenderKey, fromNonce: bigint): Promise<WaitingTransactions>;
}
