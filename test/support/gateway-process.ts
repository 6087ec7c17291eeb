import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { inject } from 'vitest';
import type { NodeFault } from './node-faults.ts';

/** What the process is told while it runs. */
export interface GatewayCommand {
  nodeFault?: NodeFault;
  /** Where it kills itself; empty: nowhere. */
  crashAt?: string;
  /** How far its clock is ahead of this machine's. */
  aheadMs?: number;
}

/** What the process tells: its port once it listens, an answer to each command, a payment at the chosen point. */
export type GatewayReport = { port: number } | { obeyed: true } | { reached: string };

export interface GatewayProcessOptions {
  crashAt?: string;
  /** Keep every payment at that point instead of dying with the first. */
  hold?: boolean;
  settleWaitMs?: number;
  settleTimeoutMs?: number;
  reconcileEveryMs?: number;
  finalityCheckMs?: number;
  reorgGraceMs?: number;
  aheadMs?: number;
}

/** A gateway that can be killed; see `crash-gateway.ts` for the points at which it can be. */
export interface GatewayProcess {
  /** Presents a payment. @returns the status; undefined when the process died over it. */
  present(header: string): Promise<number | undefined>;
  /** The body of `/readyz`. */
  readiness(): Promise<string>;
  /** What is known of the payments that are held: each text holds a payment's key. */
  reached: readonly string[];
  isAlive(): boolean;
  tell(command: GatewayCommand): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** SIGTERM. */
  stop(): Promise<void>;
}

/** @param env settings of the gateway */
export async function startGatewayProcess(
  env: Record<string, string>,
  options: GatewayProcessOptions = {},
): Promise<GatewayProcess> {
  const msOf = (ms: number | undefined) => (ms === undefined ? '' : String(ms));
  const child = fork(path.join(inject('programs'), 'crash-gateway.mjs'), {
    execArgv: [],
    env: {
      PATH: process.env['PATH'],
      ...env,
      CRASH_AT: options.crashAt ?? '',
      CRASH_HOLD: options.hold ? '1' : '',
      SETTLE_WAIT_MS: msOf(options.settleWaitMs),
      SETTLE_TIMEOUT_MS: msOf(options.settleTimeoutMs),
      RECONCILE_EVERY_MS: msOf(options.reconcileEveryMs),
      FINALITY_CHECK_MS: msOf(options.finalityCheckMs),
      REORG_GRACE_MS: msOf(options.reorgGraceMs),
      AHEAD_MS: msOf(options.aheadMs),
    },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const exited = once(child, 'exit');
  const isAlive = () => child.exitCode === null && child.signalCode === null;
  const reached: string[] = [];
  const answers: ((report: GatewayReport) => void)[] = [];
  child.on('message', (report: GatewayReport) => {
    if ('reached' in report) reached.push(report.reached);
    else answers.shift()?.(report);
  });

  /** The next answer; a process that dies gives none. */
  async function nextAnswer(): Promise<GatewayReport | undefined> {
    const answer = new Promise<GatewayReport>(resolve => answers.push(resolve));
    return Promise.race([answer, exited.then(() => undefined)]);
  }

  const started = await nextAnswer();
  if (!started || !('port' in started)) throw new Error('the gateway did not start');

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (isAlive()) child.kill(signal);
    await exited;
  }

  return {
    reached,
    isAlive,
    present: header => present(started.port, header),
    readiness: async () => (await fetch(`http://127.0.0.1:${started.port}/readyz`)).text(),
    async tell(command) {
      if (!isAlive()) return;
      const obeyed = nextAnswer();
      // It may die before it reads this.
      child.send(command, () => undefined);
      await obeyed;
    },
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
  };
}

async function present(port: number, header: string): Promise<number | undefined> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/x402/top-up`, {
      method: 'POST',
      headers: { 'payment-signature': header },
    });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return undefined;
  }
}
