import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { type Abi, encodeFunctionData, erc20Abi, type Hex } from 'viem';
import { assert } from '../lib/assert.ts';
import { ANVIL_STOP_STEPS, type AnvilNode, startAnvil } from './anvil.ts';
import { keepChain } from './evm-chain-keeper.ts';
import { openChainStore } from './evm-chain-store.ts';

/** A token that the chain carries at its real address. */
export interface LocalToken {
  address: string;
  name: string;
  version: string;
}

export interface LocalEvmChainOptions {
  /** The chain's state lives in its subfolder `evm-<chainId>`; absent: nothing is kept. */
  dataDir?: string;
  chainId: number;
  token: LocalToken;
  /** A Tempo chain, which has the token itself: nothing is put there. */
  tempo?: boolean;
  /** A chain without transactions gets an empty block this often (default 10, on Tempo 2). */
  blockTimeSeconds?: number;
  log: (line: string) => void;
}

export interface LocalEvmChain {
  rpcUrl: string;
  /** The chain goes on where the last run stopped. */
  restored: boolean;
  /** Creates test dollars. @returns the transaction's hash, after inclusion. */
  mint(address: string, amountBaseUnits: bigint): Promise<string>;
  /** Sets the account's native balance. */
  fundGas(address: string, wei: bigint): Promise<void>;
  /** Back to an empty chain with the token on it. */
  reset(): Promise<void>;
  stop(): Promise<void>;
}

interface Artifact {
  runtimeBytecode: Hex;
  abi: Abi;
}

const require = createRequire(import.meta.url);
const TEST_USDC = require('./test-usdc.artifact.json') as Artifact;

/** Contracts that clients expect at these addresses of every chain. */
const COMMON_CONTRACTS: readonly (readonly [address: Hex, Artifact])[] = [
  ['0xcA11bde05977b3631167028862bE2a173976CA11', require('./multicall3.artifact.json') as Artifact],
  ['0x000000000022D473030F116dDEE9F6B43aC78BA3', require('./permit2.artifact.json') as Artifact],
  [
    '0x402085c248EeA27D92E8b30b2C58ed07f9E20001',
    require('./x402-exact-permit2-proxy.artifact.json') as Artifact,
  ],
];

/** Pays for mints; nobody has its key, the local chain lets us act as it. */
const MINTER = '0x00000000000000000000000000000000004d696e';
const MINTER_WEI = 10n ** 24n;

const INCLUSION_TIMEOUT_MS = 15_000;

/** Blocks until `safe` and `finalized` are blocks whose state the node has. */
const SETTLING_BLOCKS = 3;

const DEFAULT_BLOCK_TIME_SECONDS = 10;

/**
 * Tempo refuses a transaction on the expiring lane that is good for more than 30 s after the newest block, and mppx signs
 * for 25: a chain that has rested for longer than the difference would refuse the simulation of every payment.
 */
const TEMPO_BLOCK_TIME_SECONDS = 2;

/**
 * Starts a real EVM on this machine with our test dollar at the token's address. With a data directory its
 * state is saved every second in which it moved and when it stops; a node that an earlier run left behind is
 * asked for its state and stopped.
 * @throws when another running process uses the folder, or when the node does not start.
 */
export async function startLocalEvmChain(options: LocalEvmChainOptions): Promise<LocalEvmChain> {
  const { dataDir, chainId, token, log } = options;
  const store = dataDir === undefined ? undefined : await openChainStore(dataDir, chainId, log);
  try {
    const saved = await store?.load();
    const { server, rpcUrl, node } = await startAnvil({
      chainId,
      folder: store?.folder ?? os.tmpdir(),
      logFile: store ? path.join(store.folder, 'anvil.log') : os.devNull,
      preferredPort: store?.lastPort,
      tempo: options.tempo,
      onStarted: async (pid, url) => store?.noteProcess(pid, url),
    });
    let stopping: Promise<void> | undefined;
    void server.ended.then(() => {
      if (!stopping) log('the local chain ended unexpectedly');
    });
    try {
      const restored = saved !== undefined && (await restore(node, saved, options));
      if (!restored) await prepare(node, options);
      // The node gives one nonce to two transactions asked for at once, and the state has one file.
      const oneAtATime = createQueue();
      const save = () => oneAtATime(async () => store?.save(node));
      await save();
      const fallback = options.tempo ? TEMPO_BLOCK_TIME_SECONDS : DEFAULT_BLOCK_TIME_SECONDS;
      const blockTimeMs = (options.blockTimeSeconds ?? fallback) * 1_000;
      const keeper = keepChain({ node, blockTimeMs, save, log });

      async function stop(): Promise<void> {
        await keeper.stop();
        await save().catch(() => log('the local chain could not be saved at its stop'));
        await server.stop(ANVIL_STOP_STEPS);
        await store?.close();
      }

      return {
        rpcUrl,
        restored,
        mint: (address, amount) =>
          oneAtATime(() =>
            options.tempo
              ? transferFromDeveloper(node, token.address, address, amount)
              : sendAsMinter(node, token.address, 'mint', [address, amount]),
          ),
        fundGas: (address, wei) => node.setBalance({ address: address as Hex, value: wei }),
        reset: () =>
          oneAtATime(async () => {
            await empty(node);
            await prepare(node, options);
            await store?.save(node);
          }),
        stop: () => (stopping ??= stop()),
      };
    } catch (error) {
      await server.stop(ANVIL_STOP_STEPS);
      throw error;
    }
  } catch (error) {
    await store?.close();
    throw error;
  }
}

async function restore(node: AnvilNode, state: Hex, options: LocalEvmChainOptions): Promise<boolean> {
  try {
    await node.loadState({ state });
    const code = await node.getCode({ address: options.token.address as Hex });
    if (options.tempo || code === TEST_USDC.runtimeBytecode) {
      // A chain that an older version saved may lack some of them.
      if (!options.tempo) await putCommonContracts(node);
      await continueTime(node);
      await node.mine({ blocks: SETTLING_BLOCKS });
      return true;
    }
    options.log('the saved chain has another token than this version; starting an empty one');
  } catch {
    options.log('the saved chain cannot be read; starting an empty one');
  }
  await empty(node);
  return false;
}

/** The node takes up the clock of this machine; a chain that was moved ahead of it must not go back. */
async function continueTime(node: AnvilNode): Promise<void> {
  const ahead = await aheadSeconds(node);
  if (ahead > 0) await node.increaseTime({ seconds: ahead });
}

/** How far the newest block is ahead of this machine's clock; negative when it is behind. */
async function aheadSeconds(node: AnvilNode): Promise<number> {
  const { timestamp } = await node.getBlock();
  return Number(timestamp) - Math.floor(Date.now() / 1_000);
}

/** The node's own reset goes back to the time at which it was started; nobody's payment is valid there. */
async function empty(node: AnvilNode): Promise<void> {
  await node.request<{ Method: 'anvil_reset'; Parameters: []; ReturnType: null }>({
    method: 'anvil_reset',
    params: [],
  });
  const behindSeconds = -(await aheadSeconds(node));
  if (behindSeconds > 0) await node.increaseTime({ seconds: behindSeconds });
}

/** Puts the contracts on an empty chain. */
async function prepare(node: AnvilNode, { token, tempo }: LocalEvmChainOptions): Promise<void> {
  if (tempo) {
    await node.mine({ blocks: SETTLING_BLOCKS });
    return;
  }
  const address = token.address as Hex;
  await putCommonContracts(node);
  await node.setCode({ address, bytecode: TEST_USDC.runtimeBytecode });
  await node.setBalance({ address: MINTER, value: MINTER_WEI });
  await sendAsMinter(node, address, 'initialize', [token.name, 'USDC', token.version]);
  await node.mine({ blocks: SETTLING_BLOCKS });
}

async function putCommonContracts(node: AnvilNode): Promise<void> {
  for (const [address, { runtimeBytecode }] of COMMON_CONTRACTS) {
    await node.setCode({ address, bytecode: runtimeBytecode });
  }
}

/** Lets each piece of work begin when the one before it has ended. */
function createQueue() {
  let last: Promise<unknown> = Promise.resolve();
  return <T>(work: () => Promise<T>): Promise<T> => {
    const result = last.then(work, work);
    last = result;
    return result;
  };
}

/** Tempo's local node gives its development accounts as many dollars as anybody can want, and signs for them. */
async function transferFromDeveloper(
  node: AnvilNode,
  token: string,
  address: string,
  amount: bigint,
): Promise<string> {
  const [from] = await node.getAddresses();
  assert(from, 'the local node has development accounts');
  const args = [address as Hex, amount] as const;
  const data = encodeFunctionData({ abi: erc20Abi, functionName: 'transfer', args });
  const hash = await node.sendUnsignedTransaction({ from, to: token as Hex, data });
  const receipt = await node.waitForTransactionReceipt({ hash, timeout: INCLUSION_TIMEOUT_MS });
  if (receipt.status !== 'success') throw new Error('a transfer was refused by the local token');
  return hash;
}

async function sendAsMinter(
  node: AnvilNode,
  to: string,
  functionName: string,
  args: readonly unknown[],
): Promise<string> {
  const data = encodeFunctionData({ abi: TEST_USDC.abi, functionName, args });
  await node.impersonateAccount({ address: MINTER });
  const hash = await node.sendUnsignedTransaction({ from: MINTER, to: to as Hex, data });
  const receipt = await node.waitForTransactionReceipt({ hash, timeout: INCLUSION_TIMEOUT_MS });
  if (receipt.status !== 'success') throw new Error(`${functionName} was refused by the local token`);
  return hash;
}
