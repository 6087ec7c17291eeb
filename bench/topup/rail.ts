/** An offer as both servers make it. */
export interface Offer {
  scheme: string;
  network: string;
  asset: string;
  amount: string;
  payTo: string;
  maxTimeoutSeconds: number;
  extra: Record<string, unknown>;
}

/** A chain with wallets on it that can pay: one for all servers of a run. */
export interface Rail {
  name: 'evm' | 'svm';
  /** Settings of the gateway and, by the same names, of the baseline; each gets keys of its own. */
  newServerEnv(): Promise<Record<string, string>>;
  /** Signs this many payments of one offer, each by the next wallet. @returns header values */
  sign(offer: Offer, count: number): Promise<string[]>;
  /** Base units that an address has received. */
  received(payTo: string): Promise<bigint>;
  stop(): Promise<void>;
}
