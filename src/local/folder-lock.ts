import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describeProcess } from './process-table.ts';

const LOCK_FILE = 'owner.lock';
const MAX_ATTEMPTS = 5;

/**
 * Makes this process the only user of a folder, so that two sandboxes never share one database. A lock
 * whose process is gone (`kill -9`) is taken over; the process start time guards against reused numbers.
 * @returns a function that gives the folder back.
 * @throws when a running process uses the folder.
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const file = path.join(folder, LOCK_FILE);
  const own = `${file}.${process.pid}`;
  const mark = `${process.pid} ${(await describeProcess(process.pid))?.started ?? ''}`;
  await writeFile(own, mark);
  try {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      if (await tryLink(own, file)) return () => rm(file, { force: true });
      const holder = await readFile(file, 'utf8').catch(() => undefined);
      if (holder === undefined) continue;
      if (await isAlive(holder)) {
        throw new Error(`${folder} is in use by process ${holder.split(' ')[0]}; choose another DATA_DIR`);
      }
      await removeStale(file, holder);
    }
    throw new Error(`${folder} could not be locked: other processes keep taking it`);
  } finally {
    await rm(own, { force: true });
  }
}

async function tryLink(existing: string, file: string): Promise<boolean> {
  try {
    await link(existing, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function isAlive(holder: string): Promise<boolean> {
  const [pid, ...started] = holder.split(' ');
  const description = await describeProcess(Number(pid));
  return description !== undefined && description.started === started.join(' ');
}

/** Two processes may find the same stale lock: what was moved away is looked at before it is dropped. */
async function removeStale(file: string, stale: string): Promise<void> {
  const aside = `${file}.${process.pid}.stale`;
  try {
    await rename(file, aside);
  } catch {
    return;
  }
  if ((await readFile(aside, 'utf8')) !== stale) await tryLink(aside, file);
  await rm(aside, { force: true });
}
