/** One signed transaction of our own, stored before it is sent. */
export interface SignedTransaction {
  nonce: bigint;
  /** 0x hex, lower-case. */
  hash: string;
  /** Signed bytes as 0x hex: they can be sent any number of times and take effect once. */
  raw: string;
}

export type StoreOutcome =
  | { kind: 'stored' }
  /** The payment was signed before: those bytes are the ones to send. */
  | { kind: 'existing'; transaction: SignedTransaction }
  /** Another process took the nonce: sign again with this one. */
  | { kind: 'stale'; nextNonce: bigint };

/** Durable home of the sender's nonces and signed bytes, shared by all replicas. */
export interface SenderStore {
  /** Raises our next nonce to the chain's, so that transactions made elsewhere with the key do no harm. */
  initialise(network: string, sender: string, chainNonce: bigint): Promise<bigint>;
  /** Stores the bytes if their nonce is the next one, under the row lock that orders all replicas. */
  store(
    key: { network: string; sender: string; paymentId: string },
    signed: SignedTransaction,
  ): Promise<StoreOutcome>;
  findByPayment(paymentId: string): Promise<SignedTransaction | undefined>;
  /** Stored transactions from this nonce on, lowest first: what a node that lost them is given again. */
  listFromNonce(network: string, sender: string, nonce: bigint, limit: number): Promise<SignedTransaction[]>;
}
