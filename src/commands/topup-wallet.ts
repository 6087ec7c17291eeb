import { readFileSync } from 'node:fs';
import { EVM_NETWORKS } from '../chains/evm-networks.ts';
import { SVM_NETWORKS } from '../chains/svm-networks.ts';
import { createEvmWallet, type EvmWallet } from '../client/evm-wallet.ts';
import { createSvmWallet, type SvmWallet } from '../client/svm-wallet.ts';
import { ConfigError, requireSetting } from '../config/read.ts';
import { isEvmPrivateKey } from '../config/values.ts';
import { readSvmKey } from '../lib/svm-key.ts';
import { askSandboxRpcUrl, createSolanaNode, isRpcUrl } from './solana-node.ts';

export interface WalletOptions {
  origin: URL;
  /** Either name of the only network to pay on. */
  network: string | undefined;
  keyFile: string | undefined;
  rpcUrl: string | undefined;
  /** Whether the RPC URL is the one that the sandbox at the origin tells. */
  isSandbox: boolean;
}

/**
 * The wallet whose key was given: which kind of key it is says on which networks it pays.
 * @returns what is wrong with the call, when something is
 * @throws ConfigError about keys and the RPC URL
 */
export function readWallet(options: WalletOptions, env: NodeJS.ProcessEnv): EvmWallet | SvmWallet | string {
  const { network, keyFile } = options;
  const name = keyFile === undefined ? 'WALLET_PRIVATE_KEY' : '--key-file';
  const key = keyFile === undefined ? requireSetting('WALLET_PRIVATE_KEY', env) : readSecret(name, keyFile);
  const isWanted = (each: { network: string; alias: string }) =>
    network === undefined || [each.network, each.alias].includes(network);
  const unknown = (family: string) => `--network: a key of ${family} networks does not pay on ${network}`;

  const prefixed = key.startsWith('0x') ? key : `0x${key}`;
  if (isEvmPrivateKey(prefixed)) {
    const networks = EVM_NETWORKS.filter(isWanted);
    return networks.length > 0 ? createEvmWallet(prefixed, networks) : unknown('EVM');
  }
  const svmKey = readSvmKey(key);
  if (!svmKey) {
    throw new ConfigError([
      `${name} must be a key: 64 hex digits (EVM), or 64 bytes in base58 or as the JSON array of solana-keygen (Solana)`,
    ]);
  }
  const networks = SVM_NETWORKS.filter(isWanted);
  if (networks.length === 0) return unknown('Solana');
  const { origin, isSandbox } = options;
  if (isSandbox) {
    return createSvmWallet(
      svmKey,
      networks,
      createSolanaNode(each => askSandboxRpcUrl(origin, each)),
    );
  }
  const rpcUrl = options.rpcUrl ?? requireSetting('SOLANA_RPC_URL', env);
  if (!isRpcUrl(rpcUrl)) throw new ConfigError(['SOLANA_RPC_URL or --rpc-url must be an http or https URL']);
  return createSvmWallet(
    svmKey,
    networks,
    createSolanaNode(() => Promise.resolve(rpcUrl)),
  );
}

/** @throws ConfigError naming the option */
export function readSecret(option: string, file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    throw new ConfigError([`${option} names a file that cannot be read`]);
  }
}
