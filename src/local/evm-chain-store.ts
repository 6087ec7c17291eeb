import { mkdir, readFile, realpath, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { type Hex, toHex } from 'viem';
import { ANVIL_STOP_STEPS, type AnvilNode, connectAnvil } from './anvil.ts';
import { lockFolder } from './folder-lock.ts';
import { describeProcess, stopProcess } from './process-table.ts';

/** Contracts can ask for the hashes of this many blocks. */
const KEPT_EMPTY_BLOCKS = 256;

/** The node that a run started; `started` tells it from a later process with the same number. */
interface NodeNote {
  pid: number;
  started: string;
  rpcUrl: string;
}

/** Where one chain is kept between runs. */
export interface ChainStore {
  folder: string;
  /** Port of the last run, so that wallets find the chain again. */
  lastPort: number | undefined;
  /** The state of the last run; undefined when there is none or it is damaged. */
  load(): Promise<Hex | undefined>;
  save(node: AnvilNode): Promise<void>;
  noteProcess(pid: number, rpcUrl: string): Promise<void>;
  /** Gives the folder back. */
  close(): Promise<void>;
}

/**
 * Opens the folder of a chain for this process alone. A node that outlived its parent still has the newest
 * state: it is asked for it and stopped.
 */
export async function openChainStore(
  dataDir: string,
  chainId: number,
  log: (line: string) => void,
): Promise<ChainStore> {
  const wanted = path.join(dataDir, `evm-${chainId}`);
  await mkdir(wanted, { recursive: true });
  const folder = await realpath(wanted);
  const unlock = await lockFolder(folder);
  const stateFile = path.join(folder, 'state.json.gz');
  const noteFile = path.join(folder, 'anvil.json');

  async function save(node: AnvilNode): Promise<void> {
    const state = await node.request<{ Method: 'anvil_dumpState'; Parameters: []; ReturnType: Hex }>({
      method: 'anvil_dumpState',
      params: [],
    });
    // Aside, flushed and renamed: a crash leaves the old state or the new one, never half of either.
    await writeFile(`${stateFile}.new`, Buffer.from(state.slice(2), 'hex'), { flush: true });
    await rename(`${stateFile}.new`, stateFile);
  }

  async function load(): Promise<Hex | undefined> {
    const bytes = await readFile(stateFile).catch(() => undefined);
    if (!bytes) return undefined;
    try {
      return toHex(await withoutOldEmptyBlocks(bytes));
    } catch {
      log('the saved chain is damaged');
      return undefined;
    }
  }

  try {
    const last = await readNote(noteFile);
    if (last && (await isRunning(last))) {
      log('a local chain of an earlier run is still running; taking its state and stopping it');
      await save(connectAnvil(last.rpcUrl)).catch(() => log('it did not give its state'));
      await stopProcess(last.pid, () => isRunning(last), ANVIL_STOP_STEPS);
    }
    return {
      folder,
      lastPort: last && Number(new URL(last.rpcUrl).port),
      load,
      save,
      async noteProcess(pid, rpcUrl) {
        const started = (await describeProcess(pid))?.started ?? '';
        await writeFile(noteFile, JSON.stringify({ pid, started, rpcUrl } satisfies NodeNote));
      },
      close: unlock,
    };
  } catch (error) {
    await unlock();
    throw error;
  }
}

interface SavedState {
  blocks: { header: { number: Hex }; transactions: unknown[] }[];
}

/**
 * An idle chain grows by thousands of empty blocks a day, and all of them would be loaded and saved for ever.
 * The node is content with gaps between old blocks.
 */
async function withoutOldEmptyBlocks(packed: Buffer): Promise<Buffer> {
  const state = JSON.parse((await promisify(gunzip)(packed)).toString('utf8')) as SavedState;
  const newest = state.blocks.reduce((highest, block) => Math.max(highest, numberOf(block)), 0);
  state.blocks = state.blocks.filter(
    block =>
      block.transactions.length > 0 || numberOf(block) > newest - KEPT_EMPTY_BLOCKS || numberOf(block) === 0,
  );
  return promisify(gzip)(JSON.stringify(state));
}

function numberOf(block: SavedState['blocks'][number]): number {
  return Number(block.header.number);
}

async function readNote(file: string): Promise<NodeNote | undefined> {
  try {
    const { pid, started, rpcUrl } = JSON.parse(await readFile(file, 'utf8')) as Partial<NodeNote>;
    const whole = typeof pid === 'number' && typeof started === 'string' && URL.canParse(rpcUrl ?? '');
    return whole ? { pid, started, rpcUrl: rpcUrl as string } : undefined;
  } catch {
    return undefined;
  }
}

async function isRunning(note: NodeNote): Promise<boolean> {
  const description = await describeProcess(note.pid);
  return description?.started === note.started && description.commandLine.includes('anvil');
}
