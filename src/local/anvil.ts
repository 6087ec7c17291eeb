import { createRequire } from 'node:module';
import path from 'node:path';
import { createTestClient, http, publicActions, walletActions } from 'viem';
import { sleep, withDeadline } from '../lib/deadline.ts';
import { type ServerProcess, startServer } from './child-process.ts';
import { freePort } from './free-port.ts';
import type { StopStep } from './process-table.ts';

const START_TIMEOUT_MS = 15_000;
const CALL_TIMEOUT_MS = 15_000;
const POLL_MS = 20;
const MAX_START_ATTEMPTS = 5;

/** How many past states can be asked for: enough for `safe`, `finalized` and short reorganisations. */
const KEPT_STATES = 32;

export const ANVIL_STOP_STEPS: readonly StopStep[] = [
  { signal: 'SIGTERM', waitMs: 3_000 },
  { signal: 'SIGKILL', waitMs: 3_000 },
];

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** The program inside the package's part for this system. */
function anvilProgram(): string {
  const name = `@foundry-rs/anvil-${process.platform}-${ARCHITECTURES[process.arch] ?? process.arch}`;
  try {
    const wrapper = createRequire(import.meta.url).resolve('@foundry-rs/anvil/package.json');
    const folder = path.dirname(createRequire(wrapper).resolve(`${name}/package.json`));
    return path.join(folder, 'bin', process.platform === 'win32' ? 'anvil.exe' : 'anvil');
  } catch (error) {
    throw new Error(`${name} is not installed: run npm ci without --omit=optional`, { cause: error });
  }
}

/** A client that reads, writes and controls the node. */
export function connectAnvil(rpcUrl: string) {
  return createTestClient({
    mode: 'anvil',
    transport: http(rpcUrl, { timeout: CALL_TIMEOUT_MS, retryCount: 0 }),
    pollingInterval: POLL_MS,
  })
    .extend(publicActions)
    .extend(walletActions);
}

export type AnvilNode = ReturnType<typeof connectAnvil>;

export interface AnvilOptions {
  chainId: number;
  /** Working directory and home of the node. */
  folder: string;
  logFile: string;
  preferredPort?: number | undefined;
  /** Tempo's rules instead of Ethereum's: its transactions, its tokens and its way of paying gas. */
  tempo?: boolean | undefined;
  /** Told as soon as the process exists, so that a killed parent leaves a trace of it. */
  onStarted: (pid: number, rpcUrl: string) => Promise<void>;
}

/** Starts an empty chain on 127.0.0.1. */
export async function startAnvil(
  options: AnvilOptions,
): Promise<{ server: ServerProcess; rpcUrl: string; node: AnvilNode }> {
  let preferred = options.preferredPort;
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort(preferred);
    const rpcUrl = `http://127.0.0.1:${port}`;
    const server = await startServer({
      command: anvilProgram(),
      args: [...anvilArguments(port, options.chainId), ...(options.tempo ? TEMPO_ARGUMENTS : [])],
      cwd: options.folder,
      env: { HOME: options.folder },
      logFile: options.logFile,
    });
    try {
      await options.onStarted(server.pid, rpcUrl);
      const node = connectAnvil(rpcUrl);
      await withDeadline('the local chain', START_TIMEOUT_MS, waitUntilReady(server, node));
      return { server, rpcUrl, node };
    } catch (error) {
      await server.stop(ANVIL_STOP_STEPS);
      if (attempt === MAX_START_ATTEMPTS) throw error;
      preferred = undefined;
    }
  }
}

/** Without a hardfork named, the node takes only one transaction with an expiring nonce from each sender. */
const TEMPO_ARGUMENTS = ['--network=tempo', '--hardfork=T4'];

function anvilArguments(port: number, chainId: number): string[] {
  return [
    '--host=127.0.0.1',
    `--port=${port}`,
    `--chain-id=${chainId}`,
    // One slot per epoch makes the newest block but one `safe`, as on a chain that moves.
    '--slots-in-an-epoch=1',
    // Without this every block leaves its state on disk, a megabyte each, also after the end.
    `--prune-history=${KEPT_STATES}`,
    // A saved chain comes back as one request, and 5,000 blocks are more than the 2 MB allowed else.
    '--no-request-size-limit',
    '--quiet',
  ];
}

async function waitUntilReady(server: ServerProcess, node: AnvilNode): Promise<void> {
  while (server.isRunning()) {
    const id = await node.getChainId().catch(() => undefined);
    if (id !== undefined) return;
    await sleep(POLL_MS);
  }
  throw new Error('the local chain ended while it was starting');
}
