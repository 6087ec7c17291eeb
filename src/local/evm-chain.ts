import { mkdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import {
  type Abi,
  createTestClient,
  encodeFunctionData,
  type Hex,
  http,
  publicActions,
  walletActions,
} from 'viem';
import { withDeadline } from '../lib/deadline.ts';
import { startLoop } from '../lib/loop.ts';
import { type ServerProcess, startServer } from './child-process.ts';
import { lockFolder } from './folder-lock.ts';
import { freePort } from './free-port.ts';
import { describeProcess, type StopStep, stopProcess } from './process-table.ts';

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
  abi: readonly unknown[];
}

const require = createRequire(import.meta.url);
const TEST_USDC = require('./test-usdc.artifact.json') as Artifact;
const MULTICALL3 = require('./multicall3.artifact.json') as Artifact;

/** Where clients expect Multicall3 on every chain. */
const MULTICALL3_ADDRESS = '0xcA11bde05977b3631167028862bE2a173976CA11';

/** Pays for mints; nobody has its key, the local chain lets us act as it. */
const MINTER = '0x00000000000000000000000000000000004d696e';
const MINTER_WEI = 10n ** 24n;

const START_TIMEOUT_MS = 15_000;
const CALL_TIMEOUT_MS = 15_000;
const SAVE_EVERY_MS = 1_000;
const MAX_START_ATTEMPTS = 5;

const STOP_STEPS: readonly StopStep[] = [
  { signal: 'SIGTERM', waitMs: 3_000 },
  { signal: 'SIGKILL', waitMs: 3_000 },
];

const PLATFORMS: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** The program inside the package's part for this system. */
function anvilProgram(): string {
  const name = `@foundry-rs/anvil-${process.platform}-${PLATFORMS[process.arch] ?? process.arch}`;
  try {
    const folder = path.dirname(require.resolve(`${name}/package.json`));
    return path.join(folder, 'bin', process.platform === 'win32' ? 'anvil.exe' : 'anvil');
  } catch (error) {
    throw new Error(`${name} is not installed: run npm ci without --omit=optional`, { cause: error });
  }
}

/**
 * Starts a real EVM on this machine with our test dollar at the token's address. Its state is saved every
 * second and when it stops; what an earlier run left running is asked for its state and stopped.
 */
export async function startLocalEvmChain(options: LocalEvmChainOptions): Promise<LocalEvmChain> {
  const store = options.dataDir === undefined ? undefined : await openStore(options.dataDir, options.chainId);
  try {
    const saved = await store?.load(options.log);
    const { server, rpcUrl } = await startAnvil(options, store);
    const node = connect(rpcUrl);
    const restored = saved !== undefined && (await restore(node, saved, options));
    if (!restored) await prepare(node, options.token);
    const saver = store && startSaver(node, store, options.log);
    return {
      rpcUrl,
      restored,
      mint: (address, amount) => mint(node, options.token, address as Hex, amount),
      fundGas: (address, wei) => node.setBalance({ address: address as Hex, value: wei }),
      async reset() {
        await node.request({ method: 'anvil_reset', params: [] } as never);
        await prepare(node, options.token);
        await saver?.save();
      },
      async stop() {
        await saver?.stop();
        await server.stop(STOP_STEPS);
        await store?.close();
      },
    };
  } catch (error) {
    await store?.close();
    throw error;
  }
}

function connect(rpcUrl: string) {
  return createTestClient({
    mode: 'anvil',
    transport: http(rpcUrl, { timeout: CALL_TIMEOUT_MS, retryCount: 0 }),
    pollingInterval: 20,
  })
    .extend(publicActions)
    .extend(walletActions);
}

type Node = ReturnType<typeof connect>;

/** Where the state of one chain is kept between runs. */
async function openStore(dataDir: string, chainId: number) {
  const wanted = path.join(dataDir, `evm-${chainId}`);
  await mkdir(wanted, { recursive: true });
  const folder = await realpath(wanted);
  const unlock = await lockFolder(folder);
  const stateFile = path.join(folder, 'state.hex');
  const processFile = path.join(folder, 'anvil.json');
  return {
    folder,
    close: unlock,
    noteProcess: (pid: number, rpcUrl: string) => writeFile(processFile, JSON.stringify({ pid, rpcUrl })),
    /** Written aside and renamed: a crash leaves the old state or the new one, never half of either. */
    async save(state: string) {
      await writeFile(`${stateFile}.new`, state);
      await rename(`${stateFile}.new`, stateFile);
    },
    /** @returns the state of the last run; taken from its process when that outlived its parent. */
    async load(log: (line: string) => void): Promise<Hex | undefined> {
      const left = await readFile(processFile, 'utf8').then(JSON.parse, () => undefined);
      const orphanState = await stopOrphan(left, log);
      await rm(processFile, { force: true });
      if (orphanState) await this.save(orphanState);
      const state = await readFile(stateFile, 'utf8').catch(() => '');
      return /^0x(?:[0-9a-f]{2})+$/.test(state) ? (state as Hex) : undefined;
    },
  };
}

type Store = Awaited<ReturnType<typeof openStore>>;

/** A node that outlived its parent still has the newest state: it is asked for it and stopped. */
async function stopOrphan(left: unknown, log: (line: string) => void): Promise<Hex | undefined> {
  const { pid, rpcUrl } = (left ?? {}) as { pid?: unknown; rpcUrl?: unknown };
  if (typeof pid !== 'number' || typeof rpcUrl !== 'string') return undefined;
  const port = new URL(rpcUrl).port;
  const isOurs = async () => {
    const { commandLine = '' } = (await describeProcess(pid)) ?? {};
    return commandLine.includes('anvil') && commandLine.includes(` --port ${port} `);
  };
  if (!(await isOurs())) return undefined;
  log('a local chain of an earlier run is still running; taking its state and stopping it');
  const state = await dumpState(connect(rpcUrl)).catch(() => undefined);
  await stopProcess(pid, isOurs, STOP_STEPS);
  return state;
}

async function startAnvil(
  options: LocalEvmChainOptions,
  store: Store | undefined,
): Promise<{ server: ServerProcess; rpcUrl: string }> {
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const rpcUrl = `http://127.0.0.1:${port}`;
    const server = await startServer({
      command: anvilProgram(),
      // One slot per epoch makes the newest block but one `safe`, as on a chain that moves.
      args: [
        '--port',
        String(port),
        '--chain-id',
        String(options.chainId),
        '--slots-in-an-epoch',
        '1',
        '--quiet',
      ],
      cwd: store?.folder ?? process.cwd(),
      env: { HOME: store?.folder ?? process.cwd() },
      logFile: store ? path.join(store.folder, 'anvil.log') : '/dev/null',
    });
    await store?.noteProcess(server.pid, rpcUrl);
    try {
      await withDeadline('the local chain', START_TIMEOUT_MS, waitUntilReady(server, rpcUrl));
      return { server, rpcUrl };
    } catch (error) {
      await server.stop(STOP_STEPS);
      if (attempt === MAX_START_ATTEMPTS) throw error;
    }
  }
}

async function waitUntilReady(server: ServerProcess, rpcUrl: string): Promise<void> {
  const node = connect(rpcUrl);
  while (server.isRunning()) {
    const id = await node.getChainId().catch(() => undefined);
    if (id !== undefined) return;
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  throw new Error('the local chain ended while it was starting');
}

async function restore(node: Node, state: Hex, options: LocalEvmChainOptions): Promise<boolean> {
  try {
    await node.loadState({ state });
    const code = await node.getCode({ address: options.token.address as Hex });
    if (code === TEST_USDC.runtimeBytecode) return true;
    options.log('the saved chain has another token than this version; starting an empty one');
  } catch {
    options.log('the saved chain cannot be read; starting an empty one');
  }
  await node.request({ method: 'anvil_reset', params: [] } as never);
  return false;
}

/** Puts the contracts on an empty chain. */
async function prepare(node: Node, token: LocalToken): Promise<void> {
  const address = token.address as Hex;
  await node.setCode({ address: MULTICALL3_ADDRESS, bytecode: MULTICALL3.runtimeBytecode });
  await node.setCode({ address, bytecode: TEST_USDC.runtimeBytecode });
  await node.setBalance({ address: MINTER, value: MINTER_WEI });
  await sendAsMinter(node, address, 'initialize', [token.name, 'USDC', token.version]);
}

async function mint(node: Node, token: LocalToken, to: Hex, amount: bigint): Promise<string> {
  return sendAsMinter(node, token.address as Hex, 'mint', [to, amount]);
}

async function sendAsMinter(
  node: Node,
  to: Hex,
  functionName: string,
  args: readonly unknown[],
): Promise<string> {
  const data = encodeFunctionData({ abi: TEST_USDC.abi as Abi, functionName, args });
  await node.impersonateAccount({ address: MINTER });
  const hash = await node.sendUnsignedTransaction({ from: MINTER, to, data });
  const receipt = await node.waitForTransactionReceipt({ hash, timeout: CALL_TIMEOUT_MS });
  if (receipt.status !== 'success') throw new Error(`${functionName} was refused by the local token`);
  return hash;
}

function dumpState(node: Node): Promise<Hex> {
  return node.request({ method: 'anvil_dumpState', params: [] } as never);
}

/** Saves the state whenever the chain has moved. */
function startSaver(node: Node, store: Store, log: (line: string) => void) {
  let savedBlock: bigint | undefined;

  async function save(): Promise<void> {
    const block = await node.getBlockNumber({ cacheTime: 0 });
    await store.save(await dumpState(node));
    savedBlock = block;
  }

  const loop = startLoop({
    intervalMs: SAVE_EVERY_MS,
    round: async () => {
      if ((await node.getBlockNumber({ cacheTime: 0 })) !== savedBlock) await save();
    },
    onError: () => log('the local chain could not be saved'),
  });
  return {
    save,
    async stop() {
      await loop.stop();
      await save().catch(() => log('the local chain could not be saved at its stop'));
    },
  };
}
