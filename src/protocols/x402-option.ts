/** What the decoder must know of a way to pay: addresses in canonical form. */
export interface ExactOption {
  /** CAIP-2, e.g. `eip155:8453`. */
  network: string;
  /** The name that x402 version 1 uses for it, e.g. `base`. */
  networkAlias: string;
  asset: string;
  payTo: string;
  /** Whether Permit2 transfers are taken besides EIP-3009, and whether we pay for the payer's allowance. */
  permit2?: { sponsored: boolean };
  /** What only Solana's payments need. */
  solana?: { tokenAccount: string; tokenProgram: string };
}
