import {
  createTestClient,
  encodeFunctionData,
  erc20Abi,
  type Hex,
  http,
  publicActions,
  walletActions,
} from 'viem';
import type { PrivateKeyAccount } from 'viem/accounts';
import { base } from 'viem/chains';
import { inject } from 'vitest';

const BASE_USDC = '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913';

const mintAbi = [
  {
    type: 'function',
    name: 'mint',
    stateMutability: 'nonpayable',
    inputs: [
      { name: 'to', type: 'address' },
      { name: 'value', type: 'uint256' },
    ],
    outputs: [{ type: 'bool' }],
  },
] as const;

/** The shared local chain, for arranging what a test needs and looking at what came of it. */
export function localChain() {
  return createTestClient({
    mode: 'anvil',
    chain: base,
    transport: http(inject('rpcUrl')),
    pollingInterval: 20,
  })
    .extend(publicActions)
    .extend(walletActions);
}

/** Gives an account gas for the whole test. */
export async function fundGas(address: Hex): Promise<void> {
  await localChain().setBalance({ address, value: 10n ** 20n });
}

/** Anybody may mint the test dollar; each wallet mints its own, so that no nonce is shared. */
export async function mintUsdc(address: Hex, amountBaseUnits: bigint): Promise<void> {
  const chain = localChain();
  await fundGas(address);
  await chain.impersonateAccount({ address });
  const hash = await chain.writeContract({
    account: address,
    address: BASE_USDC,
    abi: mintAbi,
    functionName: 'mint',
    args: [address, amountBaseUnits],
  });
  await chain.waitForTransactionReceipt({ hash });
}

/** For an address that must not have sent anything yet: somebody else mints. */
export async function mintUsdcTo(minter: PrivateKeyAccount, to: Hex, amountBaseUnits: bigint): Promise<void> {
  const data = encodeFunctionData({ abi: mintAbi, functionName: 'mint', args: [to, amountBaseUnits] });
  await sendAsPayer(minter, BASE_USDC, data);
}

export function usdcBalance(address: Hex): Promise<bigint> {
  return localChain().readContract({
    address: BASE_USDC,
    abi: erc20Abi,
    functionName: 'balanceOf',
    args: [address],
  });
}

/** Every transfer of test dollars to an address, oldest first; addresses in lower case. */
export async function usdcTransfersTo(
  to: Hex,
): Promise<{ from: string; amount: bigint; transaction: string }[]> {
  const logs = await localChain().getContractEvents({
    address: BASE_USDC,
    abi: erc20Abi,
    eventName: 'Transfer',
    args: { to },
    fromBlock: 0n,
  });
  return logs.map(log => ({
    from: (log.args.from ?? '').toLowerCase(),
    amount: log.args.value ?? 0n,
    transaction: log.transactionHash,
  }));
}

/** Sends a transaction that the account signs and pays for itself, and waits for it. */
export async function sendAsPayer(account: PrivateKeyAccount, to: Hex, data: Hex): Promise<Hex> {
  const chain = localChain();
  await fundGas(account.address);
  const hash = await chain.sendTransaction({ account, chain: base, to, data });
  const receipt = await chain.waitForTransactionReceipt({ hash });
  if (receipt.status !== 'success') throw new Error('the transaction was reverted');
  return hash;
}
