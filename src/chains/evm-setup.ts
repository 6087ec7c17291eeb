import { domainSeparator } from '../lib/eip3009.ts';
import { MULTICALL3_ADDRESS } from '../lib/eip6492.ts';
import { GatewayError } from '../lib/errors.ts';
import { EXACT_PROXY_ADDRESS, PERMIT2_ADDRESS } from '../lib/permit2.ts';
import type { EvmClient } from '../ports/evm-client.ts';
import type { EvmNetwork } from './evm-networks.ts';

/** Call data of `DOMAIN_SEPARATOR()` and `decimals()`, checked against our table at start. */
const DOMAIN_SEPARATOR_CALL = '0x3644e515';
const DECIMALS_CALL = '0x313ce567';

/** What is switched on and needs contracts of others on the chain. */
export interface EvmExtras {
  permit2: boolean;
  undeployedWallets: boolean;
}

/** Checks that the node serves this network, and that the contracts on it are what we think; each problem names a setting. */
export async function checkEvmSetup(
  network: EvmNetwork,
  client: EvmClient,
  extras: EvmExtras,
): Promise<string[]> {
  const { usdc, rpcSetting, title } = network;
  try {
    const chainId = await client.chainId();
    if (chainId !== network.chainId) {
      return [`${rpcSetting} serves chain ${chainId}, but ${title} is chain ${network.chainId}`];
    }
    const expected = domainSeparator({ ...usdc, chainId, verifyingContract: usdc.address });
    const [separator, decimals] = await Promise.all([
      client.call(usdc.address, DOMAIN_SEPARATOR_CALL),
      client.call(usdc.address, DECIMALS_CALL),
    ]);
    const problems: string[] = [];
    if (separator !== expected)
      problems.push(`${rpcSetting}: USDC on ${title} has another EIP-712 domain than ours`);
    if (BigInt(decimals) !== BigInt(usdc.decimals))
      problems.push(`${rpcSetting}: USDC on ${title} has other decimals`);
    const missing = await missingContracts(client, extras);
    return [...problems, ...missing.map(([setting, name]) => `${setting}: there is no ${name} on ${title}`)];
  } catch (error) {
    if (error instanceof GatewayError) return [`${rpcSetting}: the ${title} node does not answer`];
    return [`${rpcSetting}: USDC on ${title} cannot be read`];
  }
}

/** A call to an address without code succeeds, so that a simulation there would prove nothing. */
async function missingContracts(client: EvmClient, { permit2, undeployedWallets }: EvmExtras) {
  const needed: readonly (readonly [setting: string, name: string, address: string])[] = [
    ...(permit2
      ? ([
          ['PERMIT2', 'Permit2 contract', PERMIT2_ADDRESS],
          ['PERMIT2', 'x402 proxy of exact Permit2 payments', EXACT_PROXY_ADDRESS],
        ] as const)
      : []),
    ...(undeployedWallets ? ([['ERC6492_FACTORIES', 'Multicall3', MULTICALL3_ADDRESS]] as const) : []),
  ];
  const codes = await Promise.all(needed.map(([, , address]) => client.code(address)));
  return needed.filter((_, index) => codes[index] === '0x');
}
