import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { sleep } from '../lib/deadline.ts';

const run = promisify(execFile);

const POLL_MS = 10;

/** What tells one process from a later one with the same number. */
export interface ProcessDescription {
  /** Opaque mark of the start time. */
  started: string;
  /** Program and arguments, separated by spaces, with one space at the end. */
  commandLine: string;
}

/** One signal and how long the process has to obey it. */
export interface StopStep {
  signal: NodeJS.Signals;
  waitMs: number;
}

/** @returns undefined when no such process runs; a zombie has ended and counts as not running. */
export async function describeProcess(pid: number): Promise<ProcessDescription | undefined> {
  return process.platform === 'linux' ? describeFromProc(pid) : describeFromPs(pid);
}

/** Read from /proc because slim container images have no `ps`. */
async function describeFromProc(pid: number): Promise<ProcessDescription | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name in brackets and may itself hold spaces and brackets.
    const [state, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (state === 'Z' || state === 'X') return undefined;
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8');
    return { started: rest[18] ?? '', commandLine: commandLine.replaceAll('\0', ' ') };
  } catch {
    return undefined;
  }
}

async function describeFromPs(pid: number): Promise<ProcessDescription | undefined> {
  try {
    const { stdout } = await run('ps', ['-ww', '-o', 'stat=,lstart=,command=', '-p', String(pid)], {
      env: { PATH: process.env['PATH'], LC_ALL: 'C' },
      timeout: 5_000,
    });
    const match = /^\s*(\S+)\s+(\w{3}\s+\w{3}\s+\d+\s+[\d:]+\s+\d{4})\s+(.*\S)\s*$/s.exec(stdout);
    if (!match || match[1]?.startsWith('Z')) return undefined;
    return { started: match[2] ?? '', commandLine: `${match[3]} ` };
  } catch {
    return undefined;
  }
}

/**
 * Sends the signals in turn until the process is gone.
 * @param isRunning asked again and again; a process that is not our child can only be polled.
 * @throws when it survives the last step.
 */
export async function stopProcess(
  pid: number,
  isRunning: () => Promise<boolean>,
  steps: readonly StopStep[],
): Promise<void> {
  for (const { signal, waitMs } of steps) {
    if (!(await isRunning())) return;
    sendSignal(pid, signal);
    const deadline = performance.now() + waitMs;
    while (performance.now() < deadline) {
      if (!(await isRunning())) return;
      await sleep(POLL_MS);
    }
  }
  throw new Error(`process ${pid} does not end`);
}

/** Sends a signal; a process that ended in the meantime is no error. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
