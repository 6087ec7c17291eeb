import { mkdir, readFile, realpath, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { sleep, withDeadline } from '../lib/deadline.ts';
import { type ServerProcess, startServer } from './child-process.ts';
import { lockFolder } from './folder-lock.ts';
import { freePort } from './free-port.ts';
import { describeProcess, type StopStep, stopProcess } from './process-table.ts';
import { findLitesvm } from './solana/litesvm.ts';
import type { NodeInfo, NodeOptions } from './solana/node.ts';
import { callRpc } from './solana/rpc-client.ts';

/** A mint that the chain carries at its real address. */
export interface LocalMint {
  address: string;
  decimals: number;
}

export interface LocalSolanaOptions {
  /** The chain's state lives in its subfolder `solana`; absent: nothing is kept. */
  dataDir?: string | undefined;
  mint: LocalMint;
  /** Default 400, as on the real network. */
  slotMs?: number;
  /** Slots until a transaction is confirmed (default 1); 0: as soon as it ran. */
  confirmedAfterSlots?: number;
  /** Default 32. */
  finalizedAfterSlots?: number;
  log: (line: string) => void;
}

export interface LocalSolana {
  rpcUrl: string;
  /** The chain goes on where the last run stopped. */
  restored: boolean;
  /** Creates the owner's token account where there is none, and test dollars in it. @returns the signature. */
  mint(owner: string, amountBaseUnits: bigint): Promise<string>;
  /** Gives the account SOL. @returns the signature. */
  airdrop(address: string, lamports: bigint): Promise<string>;
  /** Resolves when a transaction that the chain has is confirmed. */
  waitUntilConfirmed(signature: string): Promise<void>;
  /** Lets slots pass at once, so that blockhashes expire and transactions become final. */
  advanceSlots(slots: number): Promise<void>;
  /** Back to an empty chain with the mint on it. */
  reset(): Promise<void>;
  stop(): Promise<void>;
}

const START_TIMEOUT_MS = 20_000;
const CONFIRMATION_TIMEOUT_MS = 15_000;
const POLL_MS = 20;
const MAX_START_ATTEMPTS = 5;
const STOP_STEPS: readonly StopStep[] = [
  { signal: 'SIGTERM', waitMs: 5_000 },
  { signal: 'SIGKILL', waitMs: 3_000 },
];

const DEFAULT_SLOT_MS = 400;
const DEFAULT_FINALIZED_AFTER_SLOTS = 32;

/** False where the optional package was left out of the install. */
export function isSolanaInstalled(): boolean {
  try {
    return findLitesvm() !== '';
  } catch {
    return false;
  }
}

/**
 * Starts a Solana on this machine: the real programs in a virtual machine behind a JSON-RPC server of our own,
 * with the mint at its real address. It is no validator: there is no consensus, no fork and no network. With a
 * data directory its state is saved every second in which it changed, and when it stops.
 * @throws when another running process uses the folder, or when the node does not start.
 */
export async function startLocalSolana(options: LocalSolanaOptions): Promise<LocalSolana> {
  const { log } = options;
  const store = options.dataDir === undefined ? undefined : await openStore(options.dataDir, log);
  try {
    const { server, rpcUrl, info } = await startNode(options, store);
    if (info.problem !== undefined) log(info.problem);
    let stopping: Promise<void> | undefined;
    void server.ended.then(() => {
      if (!stopping) log('the local Solana ended unexpectedly');
    });

    async function stop(): Promise<void> {
      await server.stop(STOP_STEPS);
      await store?.unlock();
    }

    return {
      rpcUrl,
      restored: info.restored,
      mint: (owner, amount) => callRpc<string>(rpcUrl, 'local_mint', [owner, amount.toString()]),
      airdrop: (address, lamports) => callRpc<string>(rpcUrl, 'requestAirdrop', [address, Number(lamports)]),
      waitUntilConfirmed: signature =>
        withDeadline('the confirmation', CONFIRMATION_TIMEOUT_MS, waitUntilConfirmed(rpcUrl, signature)),
      async advanceSlots(slots) {
        await callRpc(rpcUrl, 'local_advanceSlots', [slots]);
      },
      async reset() {
        await callRpc(rpcUrl, 'local_reset', []);
      },
      stop: () => (stopping ??= stop()),
    };
  } catch (error) {
    await store?.unlock();
    throw error;
  }
}

async function startNode(
  options: LocalSolanaOptions,
  store: Store | undefined,
): Promise<{ server: ServerProcess; rpcUrl: string; info: NodeInfo }> {
  const nodeOptions: Omit<NodeOptions, 'port'> = {
    litesvmFile: findLitesvm(),
    folder: store?.folder,
    mint: options.mint,
    times: {
      slotMs: options.slotMs ?? DEFAULT_SLOT_MS,
      confirmedAfterSlots: options.confirmedAfterSlots ?? 1,
      finalizedAfterSlots: options.finalizedAfterSlots ?? DEFAULT_FINALIZED_AFTER_SLOTS,
    },
  };
  let preferred = store?.lastPort;
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort(preferred);
    const rpcUrl = `http://127.0.0.1:${port}`;
    const server = await startServer({
      command: process.execPath,
      args: [...programArguments(), JSON.stringify({ ...nodeOptions, port })],
      cwd: store?.folder ?? os.tmpdir(),
      env: { HOME: store?.folder ?? os.tmpdir(), TMPDIR: os.tmpdir() },
      logFile: store ? path.join(store.folder, 'node.log') : os.devNull,
    });
    try {
      await store?.noteProcess(server.pid, port);
      const info = await withDeadline('the local Solana', START_TIMEOUT_MS, waitUntilReady(server, rpcUrl));
      return { server, rpcUrl, info };
    } catch (error) {
      await server.stop(STOP_STEPS);
      if (attempt === MAX_START_ATTEMPTS) throw error;
      preferred = undefined;
    }
  }
}

/** The program that the child runs: compiled beside us, or the source through the loader that runs us. */
function programArguments(): string[] {
  const extension = path.extname(fileURLToPath(import.meta.url));
  const program = fileURLToPath(new URL(`./solana/node${extension}`, import.meta.url));
  if (extension !== '.ts') return [program];
  const loader = createRequire(import.meta.url).resolve('tsx');
  return ['--import', pathToFileURL(loader).href, program];
}

async function waitUntilReady(server: ServerProcess, rpcUrl: string): Promise<NodeInfo> {
  while (server.isRunning()) {
    const info = await callRpc<NodeInfo>(rpcUrl, 'local_info', []).catch(() => undefined);
    // Somebody else may have taken the port in the meantime.
    if (info?.pid === server.pid) return info;
    await sleep(POLL_MS);
  }
  throw new Error('the local Solana ended while it was starting');
}

async function waitUntilConfirmed(rpcUrl: string, signature: string): Promise<void> {
  interface Statuses {
    value: ({ confirmationStatus: string } | null)[];
  }
  for (;;) {
    const { value } = await callRpc<Statuses>(rpcUrl, 'getSignatureStatuses', [[signature]]);
    if (value[0] && value[0].confirmationStatus !== 'processed') return;
    await sleep(POLL_MS);
  }
}

interface Store {
  folder: string;
  lastPort: number | undefined;
  noteProcess(pid: number, port: number): Promise<void>;
  unlock(): Promise<void>;
}

/** The node that a run started; `started` tells it from a later process with the same number. */
interface NodeNote {
  pid: number;
  started: string;
  port: number;
}

/**
 * Opens the folder for this process alone. A node that outlived its parent is ended: it saves what it has.
 */
async function openStore(dataDir: string, log: (line: string) => void): Promise<Store> {
  const wanted = path.join(dataDir, 'solana');
  await mkdir(wanted, { recursive: true });
  const folder = await realpath(wanted);
  const unlock = await lockFolder(folder);
  const noteFile = path.join(folder, 'node.json');
  try {
    const last = await readNote(noteFile);
    if (last && (await isRunning(last))) {
      log('a local Solana of an earlier run is still running; stopping it');
      await stopProcess(last.pid, () => isRunning(last), STOP_STEPS);
    }
    return {
      folder,
      lastPort: last?.port,
      async noteProcess(pid, port) {
        const started = (await describeProcess(pid))?.started ?? '';
        await writeFile(noteFile, JSON.stringify({ pid, started, port } satisfies NodeNote));
      },
      unlock,
    };
  } catch (error) {
    await unlock();
    throw error;
  }
}

async function readNote(file: string): Promise<NodeNote | undefined> {
  try {
    const { pid, started, port } = JSON.parse(await readFile(file, 'utf8')) as Partial<NodeNote>;
    const whole = typeof pid === 'number' && typeof started === 'string' && typeof port === 'number';
    return whole ? { pid, started, port } : undefined;
  } catch {
    return undefined;
  }
}

async function isRunning(note: NodeNote): Promise<boolean> {
  const description = await describeProcess(note.pid);
  return description?.started === note.started && /solana.node\.[jt]s/.test(description.commandLine);
}
