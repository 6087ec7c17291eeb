import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { cliProgram } from './cli.ts';

const run = promisify(execFile);

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** `topup-gateway topup` in a process of its own, without a terminal; the result is parsed where it is JSON. */
export async function runTopup(args: string[], env: Record<string, string> = {}) {
  const options = { env: { PATH: process.env['PATH'], ...env } };
  const ended = await run(process.execPath, [cliProgram(), 'topup', ...args], options).then(
    ({ stdout, stderr }): Ended => ({ code: 0, stdout, stderr }),
    (error: Ended) => error,
  );
  const { code, stdout, stderr } = ended;
  return { code, stderr, result: stdout.startsWith('{') ? (JSON.parse(stdout) as unknown) : stdout };
}
