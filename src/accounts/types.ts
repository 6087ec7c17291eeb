export interface WalletBalance {
  availableNanoUsd: bigint;
}

/** One line of a wallet's statement. */
export interface StatementRow {
  id: string;
  /** Signed: credits are positive, charges negative. */
  amountNanoUsd: bigint;
  balanceAfterNanoUsd: bigint;
  kind: 'topup' | 'charge' | 'refund';
  createdAt: Date;
  requestId: string | null;
  modelId: string | null;
}

/** What the surfaces may read of a wallet's credit. */
export interface Accounts {
  /** Zero for a wallet never seen. */
  walletBalance(network: string, wallet: string): Promise<WalletBalance>;
  /** Newest first; `hasMore` tells whether rows follow this page. */
  walletStatement(
    network: string,
    wallet: string,
    page: { limit: number; offset: number },
  ): Promise<{ balanceNanoUsd: bigint; rows: StatementRow[]; hasMore: boolean }>;
}

/** The wallet that a valid sign-in proof came from. */
export interface SignedInWallet {
  /** CAIP-2 id of the chain that the proof names. */
  network: string;
  /** Canonical form (EVM: lower-case). */
  wallet: string;
}

export interface SignIn {
  /**
   * Checks a Sign-In-With-X header value and consumes its nonce: the same proof passes once.
   * @throws GatewayError `proof_invalid` with `details.reason`, or `unavailable`
   */
  requireWallet(header: string): Promise<SignedInWallet>;
}
