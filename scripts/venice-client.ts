import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { withDeadline } from '../src/lib/deadline.ts';
import { CLIENTS_FOLDER } from './clients.ts';
import { stopChild } from './stop-child.ts';

/** One HTTP exchange that a client made, as it went over the wire. */
export interface HttpExchange {
  method: string;
  path: string;
  /** Header names that the client set, lower-case; their values prove something and are not passed on. */
  sentHeaders: string[];
  status: number;
  /** The decoded `PAYMENT-RESPONSE` header, when there was one. */
  paymentResponse?: { success: boolean; network: string; payer: string; transaction: string };
  /** The answer, when it was JSON. */
  body?: unknown;
}

/** A refusal that the client itself reported. */
export class ClientError extends Error {
  constructor(
    message: string,
    readonly code: string | undefined,
    readonly details: unknown,
  ) {
    super(message);
    this.name = 'ClientError';
  }
}

/** The published `venice-x402-client` in a process of its own, with the packages of `test/clients`. */
export interface VeniceClientProcess {
  /**
   * Calls a method of the client by its name (`topUp`, `images.generate`).
   * @returns what it answered, and the HTTP exchanges that it made
   * @throws ClientError when the client threw
   */
  call(method: string, ...args: unknown[]): Promise<{ result: unknown; exchanges: HttpExchange[] }>;
  /** The client's own idea of its balance, in dollars. */
  balance(): number;
  stop(): Promise<void>;
}

interface ClientLine {
  id?: number;
  http?: HttpExchange;
  result?: unknown;
  error?: { message: string; code?: string; details?: unknown };
  balance?: number;
}

const CALL_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 5_000;

/** Starts the client; `ensureClients` must have run. Calls are made one after another. */
export function startVeniceClient(options: { apiUrl: string; privateKey: string }): VeniceClientProcess {
  const child = spawn(process.execPath, [path.join(CLIENTS_FOLDER, 'venice-process.mjs')], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { PATH: process.env['PATH'] },
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let balance = 0;
  let calls = 0;

  const send = (message: object) => void child.stdin.write(`${JSON.stringify(message)}\n`);
  // On standard input and not among the arguments, where every user of the machine could read the key.
  send(options);

  async function readAnswer(id: number): Promise<{ answer: ClientLine; exchanges: HttpExchange[] }> {
    const exchanges: HttpExchange[] = [];
    for (;;) {
      const { done, value } = await lines.next();
      if (done) throw new Error('the client process ended before it answered');
      const line = JSON.parse(value) as ClientLine;
      if (line.http) exchanges.push(line.http);
      else if (line.id === id) return { answer: line, exchanges };
    }
  }

  return {
    async call(method: string, ...args: unknown[]) {
      calls += 1;
      send({ id: calls, method, args });
      const { answer, exchanges } = await withDeadline(method, CALL_TIMEOUT_MS, readAnswer(calls));
      balance = answer.balance ?? balance;
      if (answer.error) {
        throw new ClientError(answer.error.message, answer.error.code, answer.error.details);
      }
      return { result: answer.result, exchanges };
    },
    balance: () => balance,
    stop: () => stopChild(child, 'SIGTERM', STOP_TIMEOUT_MS),
  };
}
