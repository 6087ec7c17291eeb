import { createHash } from 'node:crypto';
import { type FileHandle, open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import type { TransactionRecord } from './history.ts';

/** A moment of the chain. */
export interface ChainMoment {
  seed: string;
  mint: string;
  slot: number;
  /** When it was that slot, in Unix milliseconds. */
  atMs: number;
  unixTimestamp: number;
  vm: Uint8Array;
}

interface Header extends Omit<ChainMoment, 'vm'> {
  format: 1;
  vmSha256: string;
  /** Number of the history's file, and how much of it belongs to this moment. */
  generation: number;
  historyBytes: number;
}

/** Keeps a chain in a folder: a small state that is replaced, and a history that only grows. */
export interface SnapshotFiles {
  /** @returns undefined when nothing is saved. @throws when what is saved is damaged. */
  load(): Promise<{ moment: ChainMoment; records: TransactionRecord[] } | undefined>;
  /** Saves a moment and the transactions since the one before; a crash leaves the old or the new one. */
  save(moment: ChainMoment, added: readonly TransactionRecord[]): Promise<void>;
  /** Lets the next save begin a history of its own. */
  startOver(): void;
}

const HEADER_LENGTH_BYTES = 4;

export function openSnapshotFiles(folder: string): SnapshotFiles {
  const stateFile = path.join(folder, 'state.bin');
  const historyFile = (generation: number) => path.join(folder, `transactions-${generation}.jsonl`);
  let generation = 0;
  let historyBytes = 0;
  let outdated: string | undefined;

  function startOver(): void {
    outdated = historyFile(generation);
    generation += 1;
    historyBytes = 0;
  }

  async function load() {
    const bytes = await readFile(stateFile).catch(() => undefined);
    if (!bytes) return undefined;
    const headerEnd = HEADER_LENGTH_BYTES + bytes.readUInt32LE(0);
    const header = JSON.parse(bytes.toString('utf8', HEADER_LENGTH_BYTES, headerEnd)) as Header;
    generation = header.generation;
    const vm = bytes.subarray(headerEnd);
    if (header.format !== 1 || sha256(vm) !== header.vmSha256) throw new Error('the state is damaged');
    const history = await readFile(historyFile(generation));
    if (history.length < header.historyBytes) throw new Error('the history is damaged');
    historyBytes = header.historyBytes;
    const lines = history.toString('utf8', 0, historyBytes).split('\n').slice(0, -1);
    return { moment: { ...header, vm }, records: lines.map(line => JSON.parse(line) as TransactionRecord) };
  }

  async function save(moment: ChainMoment, added: readonly TransactionRecord[]): Promise<void> {
    const lines = Buffer.from(added.map(record => `${JSON.stringify(record)}\n`).join(''));
    // At its place and not at the end: a save that failed half way leaves bytes that belong to nothing.
    await writeAt(historyFile(generation), lines, historyBytes);
    const { vm, ...rest } = moment;
    const header: Header = {
      format: 1,
      ...rest,
      vmSha256: sha256(vm),
      generation,
      historyBytes: historyBytes + lines.length,
    };
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(HEADER_LENGTH_BYTES);
    length.writeUInt32LE(text.length);
    await rm(`${stateFile}.new`, { force: true });
    await writeAt(`${stateFile}.new`, Buffer.concat([length, text, vm]), 0);
    await rename(`${stateFile}.new`, stateFile);
    historyBytes = header.historyBytes;
    if (outdated !== undefined) await rm(outdated, { force: true });
    outdated = undefined;
  }

  return { load, save, startOver };
}

async function writeAt(file: string, bytes: Buffer, position: number): Promise<void> {
  const handle = await openForWriting(file);
  try {
    await handle.write(bytes, 0, bytes.length, position);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

/** Opened without being emptied, and made when it is not there. */
async function openForWriting(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'r+');
  } catch {
    return open(file, 'w+', 0o600);
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
