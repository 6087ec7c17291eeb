import { x402Facilitator } from '@x402/core/facilitator';
import { toFacilitatorEvmSigner } from '@x402/evm';
import { ExactEvmScheme as EvmFacilitator } from '@x402/evm/exact/facilitator';
import { ExactEvmScheme as EvmServer } from '@x402/evm/exact/server';
import { createWalletClient, type Hex, http, nonceManager, publicActions } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { base } from 'viem/chains';
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import type { OfficialParts } from './official-express.ts';

export function officialEvm(network: `${string}:${string}`): OfficialParts {
  const row = findEvmNetwork(network);
  if (!row) throw new Error(`${network} is not in the table of networks`);
  // Without a count of its own, transactions that are sent at the same time would take the same nonce.
  const account = privateKeyToAccount(process.env['EVM_PRIVATE_KEY'] as Hex, { nonceManager });
  const client = createWalletClient({
    account,
    chain: base,
    transport: http(process.env['BASE_RPC_URL']),
  }).extend(publicActions);
  const signer = toFacilitatorEvmSigner({ ...client, address: account.address } as never);
  return {
    facilitator: new x402Facilitator().register(network, new EvmFacilitator(signer)),
    server: new EvmServer(),
    asset: row.usdc.address,
    extra: { name: row.usdc.name, version: row.usdc.version },
    payTo: process.env['EVM_PAY_TO'] ?? '',
    maxTimeoutSeconds: row.maxTimeoutSeconds,
  };
}
