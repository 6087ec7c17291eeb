import { isAddress } from '@solana/kit';
import { walletIdentity } from '../customers/customers.ts';
import { networkEnvironment } from '../ledger/chart.ts';
import { canonicalEvmAddress } from '../lib/evm-address.ts';
import type { Environment } from '../ports/environment.ts';

/** A wallet on a network, as customers are known by it. */
export interface WalletId {
  environment: Environment;
  /** CAIP-2. */
  network: string;
  /** Canonical form. */
  address: string;
  /** CAIP-10 account id of the canonical address. */
  identity: string;
}

const CAIP_10 = /^((?:eip155|solana):[-_a-zA-Z0-9]{1,32}):([a-zA-Z0-9]{1,64})$/;

/**
 * Reads a CAIP-10 account id, e.g. `eip155:8453:0x19E7…` or `solana:5eykt…:8qUL…`.
 * @returns undefined for what is none, or is on a network whose money the ledger does not know
 */
export function parseWalletId(text: string): WalletId | undefined {
  const [, network = '', written = ''] = CAIP_10.exec(text) ?? [];
  const environment = networkEnvironment(network);
  const address = network.startsWith('eip155:')
    ? canonicalEvmAddress(written)
    : isAddress(written)
      ? written
      : undefined;
  if (environment === undefined || address === undefined) return undefined;
  return { environment, network, address, identity: walletIdentity(network, address) };
}
