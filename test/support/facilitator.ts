import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import { inject } from 'vitest';
import { connectAnvil } from '../../src/local/anvil.ts';
import type { LocalSolana } from '../../src/local/solana-chain.ts';
import type { FacilitatorFault, StubCommand, StubCounts } from './facilitator-faults.ts';
import { newSvmKey } from './svm-key.ts';

/** A remote facilitator of the test's own. */
export interface TestFacilitator {
  url: string;
  /** Pays the gas on EVM. */
  gasPayer: string;
  /** Pays the fee of payments on Solana; empty where it serves no Solana. */
  feePayer: string;
  /** A second facilitator, without faults, that serves Solana only and signs with the same key. */
  twinUrl: string;
  /** Chooses what happens to the payment with this key: its EIP-3009 nonce, or the SHA-256 of its message. */
  plan(payment: string, fault: FacilitatorFault): Promise<void>;
  close(): Promise<void>;
  open(): Promise<void>;
  /** Lets settle requests wait before anything is done about them. */
  hold(): Promise<void>;
  /** Lets the waiting ones go on. */
  release(): Promise<void>;
  counts(): Promise<StubCounts>;
  stop(): Promise<void>;
}

export interface FacilitatorOptions {
  /** Versions of x402, by default `1,2`. */
  versions?: string;
  bearer?: string;
  /** The EVM chain that it settles on, by default the shared one. */
  evmRpcUrl?: string;
  /** The Solana that it settles on. */
  solana?: LocalSolana;
}

const FEE_PAYER_LAMPORTS = 10_000_000_000n;

/** Starts the official facilitator classes behind HTTP on local chains, with keys of its own. */
export async function startFacilitator(options: FacilitatorOptions = {}): Promise<TestFacilitator> {
  const { solana } = options;
  const evm = await evmAccount(options.evmRpcUrl ?? inject('rpcUrl'));
  const feePayer = solana && newSvmKey();
  if (feePayer) await solana.airdrop(feePayer.address, FEE_PAYER_LAMPORTS);
  const child = fork(path.join(inject('programs'), 'facilitator-process.mjs'), {
    execArgv: [],
    env: {
      PATH: process.env['PATH'],
      ...evm.env,
      ...(feePayer ? { STUB_SVM_KEY: feePayer.secret, STUB_SVM_RPC_URL: solana.rpcUrl } : {}),
      STUB_VERSIONS: options.versions ?? '1,2',
      STUB_BEARER: options.bearer ?? '',
    },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const [started] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
  if (typeof started !== 'object' || started === null) throw new Error('the facilitator did not start');
  const { port, twinPort } = started as { port: number; twinPort?: number };
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

  const tell = async (message: StubCommand) => void (await command(message));
  return {
    url: `http://127.0.0.1:${port}`,
    gasPayer: evm.gasPayer,
    feePayer: feePayer?.address ?? '',
    twinUrl: twinPort === undefined ? '' : `http://127.0.0.1:${twinPort}`,
    plan: (payment, fault) => tell({ kind: 'plan', payment: payment.toLowerCase(), fault }),
    close: () => tell({ kind: 'close' }),
    open: () => tell({ kind: 'open' }),
    hold: () => tell({ kind: 'hold' }),
    release: () => tell({ kind: 'release' }),
    counts: () => command({ kind: 'counts' }),
    async stop() {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}

async function evmAccount(rpcUrl: string): Promise<{ gasPayer: string; env: Record<string, string> }> {
  const key = generatePrivateKey();
  const gasPayer = privateKeyToAddress(key);
  await connectAnvil(rpcUrl).setBalance({ address: gasPayer, value: 10n ** 20n });
  return { gasPayer, env: { STUB_EVM_KEY: key, STUB_EVM_RPC_URL: rpcUrl } };
}
