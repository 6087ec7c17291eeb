import { type ChildProcess, spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { type StopStep, sendSignal, stopProcess } from './process-table.ts';

/** An operating-system user other than ourselves; only root can start programs as one. */
export interface SystemUser {
  uid: number;
  gid: number;
}

export interface ServerOptions {
  command: string;
  args: readonly string[];
  cwd: string;
  /** The whole environment: nothing is inherited, so that the user's own settings change nothing. */
  env: Record<string, string>;
  user?: SystemUser | undefined;
  /** Receives the server's output and is emptied first. A file, because a pipe would end with us. */
  logFile: string;
}

/** A server that we started and that we must stop. */
export interface ServerProcess {
  readonly pid: number;
  isRunning(): boolean;
  /** Resolves when the process has ended, for whatever reason. */
  readonly ended: Promise<void>;
  stop(steps: readonly StopStep[]): Promise<void>;
}

/**
 * Starts a server in a session of its own: Ctrl-C in the terminal reaches only us, and we stop the
 * server after everything that still needs it.
 */
export async function startServer(options: ServerOptions): Promise<ServerProcess> {
  const log = await open(options.logFile, 'w', 0o600);
  let child: ChildProcess;
  try {
    child = spawn(options.command, options.args, {
      cwd: options.cwd,
      env: options.env,
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      ...options.user,
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
  } finally {
    await log.close();
  }
  const pid = child.pid as number;
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  const ended = new Promise<void>(resolve => {
    if (isRunning()) child.once('exit', () => resolve());
    else resolve();
  });
  endWithUs(pid, ended);
  return { pid, isRunning, ended, stop: steps => stopProcess(pid, async () => isRunning(), steps) };
}

const TERMINATING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const running = new Set<number>();

/**
 * A program that ends without stopping its servers (an exception, an early Ctrl-C) must not leave them
 * behind. Both kinds of server shut down cleanly on SIGINT, and do so after we are gone.
 */
function endWithUs(pid: number, ended: Promise<void>): void {
  if (running.size === 0) {
    process.on('exit', interruptAll);
    for (const signal of TERMINATING_SIGNALS) process.on(signal, onSignal);
  }
  running.add(pid);
  void ended.then(() => {
    running.delete(pid);
    if (running.size > 0) return;
    process.off('exit', interruptAll);
    for (const signal of TERMINATING_SIGNALS) process.off(signal, onSignal);
  });
}

function interruptAll(): void {
  for (const pid of running) sendSignal(pid, 'SIGINT');
}

/** Where the program handles the signal itself, it will also stop its servers; else we act as by default. */
function onSignal(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  interruptAll();
  process.off(signal, onSignal);
  process.kill(process.pid, signal);
}
