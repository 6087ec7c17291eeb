import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { withDeadline } from '../src/lib/deadline.ts';

/**
 * Sends the signal and waits until the process is gone.
 * @throws DeadlineError when it did not go in time and had to be killed
 */
export async function stopChild(
  child: ChildProcess,
  signal: NodeJS.Signals,
  timeoutMs: number,
): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  try {
    await withDeadline('stop', timeoutMs, exited);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}
