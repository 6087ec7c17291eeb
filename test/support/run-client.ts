import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { CLIENTS_FOLDER } from '../../scripts/clients.ts';

/** Runs a published client in a process of its own with one request. @returns what it prints */
export async function runClient(script: string, request: object): Promise<Record<string, unknown>> {
  const child = spawn(process.execPath, [path.join(CLIENTS_FOLDER, script)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.write(`${JSON.stringify(request)}\n`);
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  child.kill();
  return JSON.parse(line) as Record<string, unknown>;
}
