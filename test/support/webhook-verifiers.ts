import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { CLIENTS_FOLDER } from '../../scripts/clients.ts';
import type { Arrival } from './receiver.ts';

type Reading = string | { error: string };

/** What `stripe` and `standardwebhooks` say of a delivery: the event's id, or their refusal. */
export interface Verification {
  stripe: Reading;
  standard: Reading;
}

/**
 * Verifies deliveries with the published libraries, in a process of their own.
 * @param nowMs what they take for the present; a signature is good for 300 s
 */
export function startVerifiers(nowMs: () => number = Date.now) {
  const child = spawn(process.execPath, [path.join(CLIENTS_FOLDER, 'webhook-process.mjs')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface(child.stdout);
  return {
    async verify({ body, headers }: Arrival, secret: string): Promise<Verification> {
      const answered = once(lines, 'line');
      child.stdin.write(`${JSON.stringify({ body, headers, secret, nowMs: nowMs() })}\n`);
      const [line] = (await answered) as [string];
      return JSON.parse(line) as Verification;
    },
    stop: () => child.kill(),
  };
}
