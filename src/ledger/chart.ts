import type { Environment } from '../ports/environment.ts';

export type { Environment } from '../ports/environment.ts';

/**
 * The chart of accounts. A transfer is one row: the customer's account, the code of the system account on
 * the other side, one amount. System accounts are codes and never rows, so none of them can be hot; their
 * balances are summed from the log (see `readSystemBalances`). Codes are stored: never reuse a number.
 */
export const CONTRA = {
  /** No other side: only on transfers of amount zero. */
  none: 0,
  /** What customers spent. */
  revenue: 1,
  /** Credit given away. */
  granted: 2,
  /** Credit that ended unspent. */
  expired: 3,
  /** Service that was used beyond what could be collected. */
  uncollected: 4,
  /** Money of a customer that we must send back. */
  refundsDue: 5,
  /** Corrections by hand that wait for an explanation. */
  suspense: 6,
  /** What plans cost, less the credit that they gave. */
  plans: 7,
  /** Credit that the operator booked by hand, for money or a promise that came another way. */
  byOperator: 8,
} as const;

/**
 * Money received on chain, one code per network. The database admits 100–199 to live accounts alone and
 * 200–299 to test accounts alone: that is what keeps the two kinds of money apart.
 */
export const RECEIPTS = {
  /** Base. */
  'eip155:8453': 100,
  /** Solana. */
  'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp': 101,
  /** Tempo. */
  'eip155:4217': 102,
  /** Base Sepolia. */
  'eip155:84532': 200,
  /** Solana devnet. */
  'solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1': 201,
  /** Tempo testnet. */
  'eip155:42431': 202,
} as const;

export type ContraCode = (typeof CONTRA)[keyof typeof CONTRA] | (typeof RECEIPTS)[keyof typeof RECEIPTS];

/** The code for money received on a CAIP-2 network, or undefined when the network has none. */
export function receiptsContra(network: string): ContraCode | undefined {
  return network in RECEIPTS ? RECEIPTS[network as keyof typeof RECEIPTS] : undefined;
}

/** Which money a CAIP-2 network carries, or undefined when the ledger takes none of it. */
export function networkEnvironment(network: string): Environment | undefined {
  const code = receiptsContra(network);
  if (code === undefined) return undefined;
  return code < 200 ? 'live' : 'test';
}

/** A readable name of any stored contra code. */
export function contraName(code: number): string {
  const named = Object.entries(CONTRA).find(([, value]) => value === code);
  if (named) return named[0];
  const network = Object.entries(RECEIPTS).find(([, value]) => value === code);
  return network ? `receipts ${network[0]}` : `unknown ${code}`;
}

/** What a transfer is, by its stored code. Number 2 is a hold, which is not a transfer while it is open. */
export const TRANSFER_CODES = {
  debit: 1,
  capture: 3,
  release: 4,
  hold_expired: 5,
  grant: 6,
  grant_voided: 7,
  grant_expired: 8,
  refund: 9,
  reversal: 10,
  adjustment: 11,
  write_off: 12,
  /** A refund's part that pays for an earlier write-off instead of becoming credit. */
  recovery: 13,
  /** Orders that move nothing; each has its line in the log, so that its id is known there. */
  freeze: 14,
  unfreeze: 15,
  credit_line: 16,
} as const;

export type TransferCode = keyof typeof TRANSFER_CODES;

const NAMES = new Map<number, TransferCode>(
  Object.entries(TRANSFER_CODES).map(([name, code]) => [code, name as TransferCode]),
);

/** The name of a stored transfer code. */
export function transferCode(code: number): TransferCode {
  const name = NAMES.get(code);
  if (!name) throw new Error(`unknown transfer code ${code}`);
  return name;
}
