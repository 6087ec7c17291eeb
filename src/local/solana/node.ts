/**
 * A local Solana in a process of its own, because the virtual machine is synchronous: `node.ts <options>` with
 * {@link NodeOptions} as JSON. It serves until it is told to end or until its parent is gone, and saves first.
 */
import { accountMethods } from './account-methods.ts';
import type { Bank } from './bank.ts';
import { chainMethods } from './chain-methods.ts';
import { type ChainTimes, openChain } from './chain-state.ts';
import { loadLitesvm } from './litesvm.ts';
import { addressParam, countParam, type Params, textParam } from './params.ts';
import { invalidParams } from './rpc-error.ts';
import { createRpcServer, type RpcHandler } from './rpc-server.ts';
import { openSnapshotFiles } from './snapshot.ts';
import { transactionMethods } from './transaction-methods.ts';
import type { LocalMint } from './treasury.ts';

export interface NodeOptions {
  port: number;
  litesvmFile: string;
  /** Absent: nothing is kept. */
  folder?: string | undefined;
  mint: LocalMint;
  times: ChainTimes;
}

/** What `local_info` answers. */
export interface NodeInfo {
  pid: number;
  restored: boolean;
  problem?: string | undefined;
  mintAuthority: string;
}

const SAVE_EVERY_MS = 1_000;
const MAX_U64 = 2n ** 64n - 1n;
const MAX_AIRDROP_LAMPORTS = 10n ** 15n;
const MAX_SKIPPED_SLOTS = 1_000_000;

const options = JSON.parse(process.argv[2] ?? '{}') as NodeOptions;
const parent = process.ppid;
const chain = await openChain({
  litesvm: loadLitesvm(options.litesvmFile),
  mint: options.mint,
  times: options.times,
  files: options.folder === undefined ? undefined : openSnapshotFiles(options.folder),
});

type BankMethod = (bank: Bank, params: Params) => unknown;
const READS: Record<string, BankMethod> = { ...chainMethods, ...accountMethods, ...transactionMethods };

/** What only a local chain can do; `local_` so that nobody takes it for a part of the protocol. */
const LOCAL: Record<string, RpcHandler> = {
  requestAirdrop: params =>
    chain.treasury.airdrop(addressParam(params, 0), amountParam(params[1], MAX_AIRDROP_LAMPORTS)),
  local_mint: params =>
    chain.treasury.mint(addressParam(params, 0), amountParam(textParam(params, 1), MAX_U64)),
  local_advanceSlots: params => {
    chain.bank.slots.skip(countParam(params[0], MAX_SKIPPED_SLOTS));
    return chain.bank.slots.advance();
  },
  local_reset: async () => {
    await chain.reset();
    return true;
  },
  local_info: () =>
    ({
      pid: process.pid,
      restored: chain.restored,
      problem: chain.problem,
      mintAuthority: chain.treasury.mintAuthority,
    }) satisfies NodeInfo,
};

const WRITES = new Set(['sendTransaction', 'requestAirdrop', 'local_mint', 'local_advanceSlots']);
let changed = false;

function find(method: string): RpcHandler | undefined {
  if (WRITES.has(method)) changed = true;
  if (Object.hasOwn(LOCAL, method)) return LOCAL[method];
  const read = Object.hasOwn(READS, method) ? READS[method] : undefined;
  return read && (params => read(chain.bank, params));
}

function amountParam(value: unknown, most: bigint): bigint {
  const amount = typeof value === 'string' || Number.isSafeInteger(value) ? toBigInt(value) : undefined;
  if (amount === undefined || amount < 0n || amount > most) {
    throw invalidParams(`Invalid params: expected an amount of at most ${most}.`);
  }
  return amount;
}

function toBigInt(value: unknown): bigint | undefined {
  return /^\d{1,20}$/.test(String(value)) ? BigInt(String(value)) : undefined;
}

await chain.save();
const server = createRpcServer(find);
server.once('error', error => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
server.listen(options.port, '127.0.0.1');

async function save(): Promise<void> {
  if (!changed) return;
  changed = false;
  try {
    await chain.save();
  } catch (error) {
    changed = true;
    process.stderr.write(`the chain could not be saved: ${(error as Error).message}\n`);
  }
}

let ending = false;
async function end(): Promise<void> {
  if (ending) return;
  ending = true;
  clearInterval(keeper);
  server.close();
  server.closeAllConnections();
  changed = true;
  await save();
  process.exit(0);
}

const keeper = setInterval(() => {
  // Nobody can stop us any more once the parent was killed.
  if (process.ppid !== parent) void end();
  else void save();
}, SAVE_EVERY_MS);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void end());
