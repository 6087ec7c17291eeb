import { encodeFunctionData, type Hex, isErc6492Signature, multicall3Abi, parseErc6492Signature } from 'viem';
import { canonicalEvmAddress } from './evm-address.ts';

/** Multicall3, at the same address of every chain. https://github.com/mds1/multicall3 */
export const MULTICALL3_ADDRESS = '0xca11bde05977b3631167028862be2a173976ca11';

/** The signature of a wallet that may not be deployed yet, with the call that deploys it (ERC-6492). */
export interface WrappedSignature {
  /** Lower-case address. */
  factory: string;
  factoryData: string;
  /** What the wallet itself judges once it is deployed. */
  signature: string;
}

/** Takes an ERC-6492 wrapper apart; undefined for any other signature. */
export function unwrapSignature(signature: string): WrappedSignature | undefined {
  const given = signature as Hex;
  if (!isErc6492Signature(given)) return undefined;
  try {
    const { address, data, signature: inner } = parseErc6492Signature(given);
    const factory = address && canonicalEvmAddress(address);
    return factory && data ? { factory, factoryData: data, signature: inner } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Call data of Multicall3 that deploys a wallet and makes a call that needs it, both or nothing. A deployment that
 * fails is let pass, because somebody else may have deployed the wallet before; then the call decides.
 */
export function deployAndCallData(
  wallet: Pick<WrappedSignature, 'factory' | 'factoryData'>,
  call: { to: string; data: string },
): Hex {
  return encodeFunctionData({
    abi: multicall3Abi,
    functionName: 'aggregate3',
    args: [
      [
        { target: wallet.factory as Hex, allowFailure: true, callData: wallet.factoryData as Hex },
        { target: call.to as Hex, allowFailure: false, callData: call.data as Hex },
      ],
    ],
  });
}
