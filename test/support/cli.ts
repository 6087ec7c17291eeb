import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { inject } from 'vitest';
import type { TestGateway } from './gateway.ts';

/** The command-line tool as the tests start it: every command but `dev`. */
export const cliProgram = (): string => path.join(inject('programs'), 'cli.mjs');

/** Runs a command with the settings of a gateway. @returns its exit code and what it printed, which is JSON */
export async function runCommand(
  on: Pick<TestGateway, 'env'>,
  args: string[],
): Promise<{ code: number | null; output: unknown }> {
  const child = spawn(process.execPath, [cliProgram(), ...args], {
    env: { PATH: process.env['PATH'], ...on.env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output: JSON.parse(Buffer.concat(chunks).toString('utf8')) };
}
