import type { KeyDialect } from '../customers/api-key-format.ts';
import type { Customer } from '../customers/customers.ts';
import type { Environment } from '../ports/environment.ts';

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

/** Who a valid API key acts for, and in which environment. */
export interface KeyHolder {
  keyId: string;
  customer: Customer;
  environment: Environment;
  /** What the key may spend in a calendar month, in nano-USD; no limit when absent. */
  spendingCapNanoUsd?: bigint | undefined;
}

export interface ApiKeys {
  /**
   * Checks the key that came with a request, where one came, and the address it came from.
   * @throws GatewayError `unauthorized` with one text for missing, malformed, unknown, expired and revoked
   * keys, `address_not_allowed`, or `unavailable`
   */
  authenticate(presented: {
    apiKey: string | undefined;
    dialect: KeyDialect;
    callerAddress: string;
  }): Promise<KeyHolder>;
}

/** Credit of a customer that the surface knows already. */
export interface CustomerCredit {
  /** Credit that can be spent, in nano-USD; zero for an account never opened. */
  available(customer: Customer): Promise<bigint>;
}
