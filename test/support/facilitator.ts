import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import { inject } from 'vitest';
import { fundGas } from './chain.ts';
import type { FacilitatorFault, StubCommand, StubCounts } from './facilitator-faults.ts';

const PROCESS = path.join(import.meta.dirname, 'facilitator-process.ts');

/** A remote facilitator of the test's own. */
export interface TestFacilitator {
  url: string;
  /** Chooses what happens to the payment with this nonce. */
  plan(nonce: string, fault: FacilitatorFault): Promise<void>;
  close(): Promise<void>;
  open(): Promise<void>;
  counts(): Promise<StubCounts>;
  stop(): Promise<void>;
}

/** Starts the official facilitator classes behind HTTP on the shared local chain, with a key of its own. */
export async function startFacilitator(
  options: { versions?: string; bearer?: string } = {},
): Promise<TestFacilitator> {
  const key = generatePrivateKey();
  await fundGas(privateKeyToAddress(key));
  const child = fork(PROCESS, {
    execArgv: ['--import', 'tsx'],
    env: {
      PATH: process.env['PATH'],
      STUB_KEY: key,
      STUB_RPC_URL: inject('rpcUrl'),
      STUB_VERSIONS: options.versions ?? '1,2',
      STUB_BEARER: options.bearer ?? '',
    },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  let turn: Promise<unknown> = Promise.resolve();

  /** One command at a time, so that each gets its own answer. */
  function command(message: StubCommand): Promise<StubCounts> {
    const answered = turn.then(async () => {
      const answer = once(child, 'message');
      child.send(message);
      return ((await answer) as [{ counts: StubCounts }])[0].counts;
    });
    turn = answered.catch(() => undefined);
    return answered;
  }

  return {
    url: `http://127.0.0.1:${port}`,
    plan: async (nonce, fault) => void (await command({ kind: 'plan', nonce, fault })),
    close: async () => void (await command({ kind: 'close' })),
    open: async () => void (await command({ kind: 'open' })),
    counts: () => command({ kind: 'counts' }),
    async stop() {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}
