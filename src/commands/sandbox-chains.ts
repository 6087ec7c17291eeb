import { EVM_NETWORKS, type EvmNetwork } from '../chains/evm-networks.ts';
import { SVM_NETWORKS, type SvmNetwork } from '../chains/svm-networks.ts';
import { findTempoNetwork } from '../chains/tempo-networks.ts';
import { assert } from '../lib/assert.ts';
import { canonicalEvmAddress } from '../lib/evm-address.ts';
import { isSvmAddress } from '../lib/svm-address.ts';
import { startLocalEvmChain } from '../local/evm-chain.ts';
import { isSolanaInstalled, startLocalSolana } from '../local/solana-chain.ts';
import type { SandboxNetwork } from '../sandbox/routes.ts';

/** 1000 ETH: gas never runs out in a sandbox. */
const GAS_WEI = 1_000n * 10n ** 18n;

const LAMPORTS_PER_SOL = 1_000_000_000n;
const FEE_PAYER_LAMPORTS = 100n * LAMPORTS_PER_SOL;

/** Paid by MPP; a node of it is the local chain's own program in another mode. */
const TEMPO_TESTNET = 'eip155:42431';

/** A local chain with what the gateway needs on it. */
export interface SandboxChain extends SandboxNetwork {
  /** The chain goes on where the last run stopped. */
  restored: boolean;
  /** Back to an empty chain. */
  reset(): Promise<void>;
  /** Gives the gateway's keys and receivers what they need; on a chain that has it, once more does no harm. */
  prepare(): Promise<void>;
  stop(): Promise<void>;
}

export interface SandboxChainOptions {
  dataDir: string;
  /** CAIP-2 ids; others than ours are left to the gateway to refuse. */
  networks: readonly string[];
  evm: { payTo: string; sender: string };
  svm: { payTo: string; feePayer: string };
  log: (line: string) => void;
}

/** The networks that this machine can stand in for; Solana needs a package that an install may leave out. */
export function sandboxNetworks(): string[] {
  const networks = [...EVM_NETWORKS, ...(isSolanaInstalled() ? SVM_NETWORKS : [])];
  return [...networks.map(({ network }) => network), TEMPO_TESTNET];
}

/** Starts all chains at once. */
export function startSandboxChains(options: SandboxChainOptions): Promise<SandboxChain[]> {
  const { networks } = options;
  const chosen = <T extends { network: string }>(rows: readonly T[]) =>
    rows.filter(({ network }) => networks.includes(network));
  return Promise.all([
    ...chosen(EVM_NETWORKS).map(network => startEvm(network, options)),
    ...chosen(SVM_NETWORKS).map(network => startSolana(network, options)),
    ...(networks.includes(TEMPO_TESTNET) ? [startTempo(options)] : []),
  ]);
}

async function startEvm(network: EvmNetwork, options: SandboxChainOptions): Promise<SandboxChain> {
  const { usdc, chainId } = network;
  const { dataDir, log } = options;
  const chain = await startLocalEvmChain({ dataDir, chainId, token: usdc, log });
  return {
    network: network.network,
    rpcUrl: chain.rpcUrl,
    asset: usdc.address,
    assetDecimals: usdc.decimals,
    payTo: options.evm.payTo,
    restored: chain.restored,
    canonicalAddress: canonicalEvmAddress,
    fund: (address, amount) => chain.mint(address, amount),
    prepare: () => chain.fundGas(options.evm.sender, GAS_WEI),
    reset: () => chain.reset(),
    stop: () => chain.stop(),
  };
}

/** PathUSD is on the chain from the start; a wallet pays its gas in it too. */
async function startTempo({ dataDir, evm, log }: SandboxChainOptions): Promise<SandboxChain> {
  const network = findTempoNetwork(TEMPO_TESTNET);
  assert(network, 'the Tempo testnet is in the table of networks');
  const { chainId, usdc } = network;
  const token = { address: usdc.address, name: 'PathUSD', version: '1' };
  const chain = await startLocalEvmChain({ dataDir, chainId, token, tempo: true, log });
  return {
    network: network.network,
    rpcUrl: chain.rpcUrl,
    asset: usdc.address,
    assetDecimals: usdc.decimals,
    payTo: evm.payTo,
    restored: chain.restored,
    canonicalAddress: canonicalEvmAddress,
    fund: (address, amount) => chain.mint(address, amount),
    prepare: () => Promise.resolve(),
    reset: () => chain.reset(),
    stop: () => chain.stop(),
  };
}

async function startSolana(network: SvmNetwork, options: SandboxChainOptions): Promise<SandboxChain> {
  const { usdc, slotMs } = network;
  const { dataDir, svm, log } = options;
  const chain = await startLocalSolana({ dataDir, mint: usdc, slotMs, log });
  return {
    network: network.network,
    rpcUrl: chain.rpcUrl,
    asset: usdc.address,
    assetDecimals: usdc.decimals,
    payTo: svm.payTo,
    restored: chain.restored,
    canonicalAddress: address => (isSvmAddress(address) ? address : undefined),
    /** A wallet without SOL could not do anything else on the chain. */
    async fund(address, amount) {
      await chain.airdrop(address, LAMPORTS_PER_SOL);
      const signature = await chain.mint(address, amount);
      await chain.waitUntilConfirmed(signature);
      return signature;
    },
    async prepare() {
      await chain.airdrop(svm.feePayer, FEE_PAYER_LAMPORTS);
      // Nobody else creates the receiver's token account, and a payment to none fails.
      await chain.mint(svm.payTo, 0n);
    },
    reset: () => chain.reset(),
    stop: () => chain.stop(),
  };
}
