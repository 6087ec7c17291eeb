/** What the decoder must know of a way to pay: addresses in canonical form. */
export interface ExactOption {
  /** CAIP-2, e.g. `eip155:8453`. */
  network: string;
  /** The name that x402 version 1 uses for it, e.g. `base`. */
  networkAlias: string;
  asset: string;
  payTo: string;
  /** What only Solana's payments need. */
  solana?: { tokenAccount: string; tokenProgram: string };
}
