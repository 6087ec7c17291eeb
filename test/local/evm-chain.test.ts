import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { erc20Abi, type Hex } from 'viem';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import { connectAnvil } from '../../src/local/anvil.ts';
import { type LocalEvmChain, startLocalEvmChain } from '../../src/local/evm-chain.ts';
import { keepChain } from '../../src/local/evm-chain-keeper.ts';
import { describeProcess } from '../../src/local/process-table.ts';
import { anvilPid, endWith, isAlive, openFolder, startInChild } from '../support/local-processes.ts';

const WAIT = { timeout: 20_000, interval: 50 };
const base = findEvmNetwork('eip155:8453');
if (!base) throw new Error('Base is not in the table of networks');
const token = base.usdc;
const usdc = token.address as Hex;

let root: Awaited<ReturnType<typeof openFolder>>;

beforeAll(async () => {
  root = await openFolder();
});

afterAll(() => root.remove());

function dataDirOf(name: string): string {
  return path.join(root.folder, name);
}

function stateFileOf(dataDir: string): string {
  return path.join(dataDir, 'evm-8453', 'state.json.gz');
}

async function start(
  dataDir: string | undefined,
  options: { lines?: string[]; blockTimeSeconds?: number } = {},
): Promise<LocalEvmChain> {
  const { lines = [], ...rest } = options;
  const chain = await startLocalEvmChain({
    ...(dataDir === undefined ? {} : { dataDir }),
    chainId: 8453,
    token,
    log: line => lines.push(line),
    ...rest,
  });
  onTestFinished(() => chain.stop());
  return chain;
}

function newAddress(): Hex {
  return privateKeyToAddress(generatePrivateKey());
}

function balanceAt(
  rpcUrl: string,
  address: Hex,
  blockTag: 'latest' | 'safe' | 'finalized' = 'latest',
): Promise<bigint> {
  return connectAnvil(rpcUrl).readContract({
    address: usdc,
    abi: erc20Abi,
    functionName: 'balanceOf',
    args: [address],
    blockTag,
  });
}

/** The chain saves itself once a second; this waits until a transaction is in what was saved. */
async function waitUntilSaved(dataDir: string, transaction: string): Promise<void> {
  await vi.waitFor(async () => {
    const state = gunzipSync(await readFile(stateFileOf(dataDir))).toString('utf8');
    expect(state.includes(transaction)).toBe(true);
  }, WAIT);
}

describe('local EVM chain', () => {
  it('has the dollar and Multicall3 where the real network has them', async () => {
    const chain = await start(undefined);
    expect(chain.restored).toBe(false);
    const node = connectAnvil(chain.rpcUrl);
    expect(await node.getChainId()).toBe(8453);
    const address = newAddress();
    const hash = await chain.mint(address, 25_000_000n);
    expect(await balanceAt(chain.rpcUrl, address)).toBe(25_000_000n);
    const [log] = await node.getContractEvents({
      address: usdc,
      abi: erc20Abi,
      eventName: 'Transfer',
      args: { to: address },
      fromBlock: 0n,
    });
    expect(log).toMatchObject({ transactionHash: hash, args: { value: 25_000_000n } });
    await chain.fundGas(address, 5n);
    expect(await node.getBalance({ address })).toBe(5n);
    const balanceOf = {
      address: usdc,
      abi: erc20Abi,
      functionName: 'balanceOf',
      args: [address],
    } as const;
    const answers = await node.multicall({
      contracts: [balanceOf, { ...balanceOf, functionName: 'transfer', args: [usdc, 1n] }],
      multicallAddress: '0xcA11bde05977b3631167028862bE2a173976CA11',
    });
    expect(answers).toMatchObject([{ status: 'success', result: 25_000_000n }, { status: 'failure' }]);
  });

  it('creates money for many at once', async () => {
    const chain = await start(undefined);
    const addresses = Array.from({ length: 20 }, newAddress);
    const hashes = await Promise.all(addresses.map(address => chain.mint(address, 7n)));
    expect(new Set(hashes).size).toBe(20);
    const balances = await Promise.all(addresses.map(address => balanceAt(chain.rpcUrl, address)));
    expect(new Set(balances)).toEqual(new Set([7n]));
  });

  it('goes on where it stopped: address, money, receipts, logs, past states and time', async () => {
    const dataDir = dataDirOf('plain');
    const first = await start(dataDir);
    const address = newAddress();
    const hash = await first.mint(address, 1_000_000n);
    const node = connectAnvil(first.rpcUrl);
    await node.mine({ blocks: 500 });
    // More than a node takes back in one request unless told otherwise.
    await node.setCode({ address: newAddress(), bytecode: `0x${randomBytes(1_500_000).toString('hex')}` });
    await node.increaseTime({ seconds: 3_600 });
    await node.mine({ blocks: 1 });
    const before = await node.getBlock();
    const pid = await anvilPid(dataDir);
    await first.stop();
    expect(await isAlive(pid)).toBe(false);

    const second = await start(dataDir);
    expect(second).toMatchObject({ restored: true, rpcUrl: first.rpcUrl });
    for (const tag of ['latest', 'safe', 'finalized'] as const) {
      expect(await balanceAt(second.rpcUrl, address, tag)).toBe(1_000_000n);
    }
    const receipt = await node.getTransactionReceipt({ hash: hash as Hex });
    expect(receipt.status).toBe('success');
    const logs = await node.getLogs({ address: usdc, fromBlock: 0n });
    expect(logs.map(log => log.transactionHash)).toEqual([hash]);
    await second.mint(address, 1n);
    const after = await node.getBlock();
    expect(after.number).toBeGreaterThan(before.number);
    expect(after.timestamp).toBeGreaterThanOrEqual(before.timestamp);
    await second.stop();
    const state = JSON.parse(gunzipSync(await readFile(stateFileOf(dataDir))).toString('utf8'));
    expect(state.blocks.length).toBeLessThan(300);
    expect((await start(dataDir)).restored).toBe(true);
  });

  it('takes the newest state from a node that outlived kill -9 of its parent', async () => {
    const dataDir = dataDirOf('orphan');
    const { child, started } = await startInChild(dataDir, ['chain']);
    await endWith(child, 'SIGKILL');
    const pid = await anvilPid(dataDir);
    expect(await isAlive(pid)).toBe(true);
    // Nobody saves any more, so only the node itself knows this transaction.
    const address = newAddress();
    const node = connectAnvil(started.rpcUrl);
    await node.impersonateAccount({ address });
    await node.setBalance({ address, value: 10n ** 18n });
    const hash = await node.sendUnsignedTransaction({ from: address, to: usdc, value: 0n, data: '0x' });
    const chain = await start(dataDir);
    expect(await isAlive(pid)).toBe(false);
    expect(chain.restored).toBe(true);
    const receipt = await connectAnvil(chain.rpcUrl).getTransactionReceipt({ hash });
    expect(receipt.from).toBe(address.toLowerCase());
  });

  it('comes back as it was saved when the node itself is killed', async () => {
    const dataDir = dataDirOf('killed');
    const lines: string[] = [];
    const first = await start(dataDir, { lines });
    const address = newAddress();
    await waitUntilSaved(dataDir, await first.mint(address, 9n));
    process.kill(await anvilPid(dataDir), 'SIGKILL');
    await vi.waitFor(() => expect(lines).toContain('the local chain ended unexpectedly'), WAIT);
    await first.stop();
    const second = await start(dataDir);
    expect(second.restored).toBe(true);
    expect(await balanceAt(second.rpcUrl, address)).toBe(9n);
  });

  it('starts empty, and says so, when its state is damaged', async () => {
    const dataDir = dataDirOf('damaged');
    const first = await start(dataDir);
    const address = newAddress();
    await first.mint(address, 9n);
    await first.stop();
    await truncate(stateFileOf(dataDir), 1_000);
    const lines: string[] = [];
    const second = await start(dataDir, { lines });
    expect(second.restored).toBe(false);
    expect(lines).toEqual(['the saved chain is damaged']);
    expect(await balanceAt(second.rpcUrl, address)).toBe(0n);
    await second.mint(address, 1n);
    expect(await balanceAt(second.rpcUrl, address)).toBe(1n);
  });

  it('never stops a stranger that has the number of its old node', async () => {
    const dataDir = dataDirOf('stranger');
    await (await start(dataDir)).stop();
    const stranger = spawn('sleep', ['60']);
    onTestFinished(() => void stranger.kill());
    const noteFile = path.join(dataDir, 'evm-8453', 'anvil.json');
    const note = JSON.parse(await readFile(noteFile, 'utf8')) as { started: string };
    await writeFile(noteFile, JSON.stringify({ ...note, pid: stranger.pid }));
    await (await start(dataDir)).stop();
    const { started = '' } = (await describeProcess(stranger.pid ?? 0)) ?? {};
    await writeFile(noteFile, JSON.stringify({ ...note, pid: stranger.pid, started }));
    await (await start(dataDir)).stop();
    expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
  });

  it('is emptied by a reset, at the same address, and stays so', async () => {
    const dataDir = dataDirOf('reset');
    const chain = await start(dataDir);
    const address = newAddress();
    await chain.mint(address, 9n);
    await chain.reset();
    expect(await balanceAt(chain.rpcUrl, address)).toBe(0n);
    const other = newAddress();
    await chain.mint(other, 3n);
    await chain.stop();
    const again = await start(dataDir);
    expect(await balanceAt(again.rpcUrl, address)).toBe(0n);
    expect(await balanceAt(again.rpcUrl, other)).toBe(3n);
  });

  it('lets time pass for calls while nothing happens, and goes on in it after a reset', async () => {
    const chain = await start(undefined, { blockTimeSeconds: 1 });
    const node = connectAnvil(chain.rpcUrl);
    // Answers the time of the block that a call runs in.
    const clock = newAddress();
    await node.setCode({ address: clock, bytecode: '0x425f5260205ff3' });
    const readClock = async () => BigInt((await node.call({ to: clock })).data ?? 0n);
    const before = await readClock();
    await vi.waitFor(async () => expect((await readClock()) - before).toBeGreaterThan(1n), WAIT);
    // The node was started some seconds ago, and does not go back to then.
    const now = BigInt(Math.floor(Date.now() / 1_000));
    await chain.reset();
    expect((await node.getBlock()).timestamp).toBeGreaterThanOrEqual(now);
  });

  it('goes on in time while it is being saved, however long that takes', async () => {
    const chain = await start(undefined, { blockTimeSeconds: 3_600 });
    const node = connectAnvil(chain.rpcUrl);
    const before = await node.getBlockNumber();
    let saves = 0;
    let finish: () => void = () => undefined;
    const saving = new Promise<void>(resolve => {
      finish = resolve;
    });
    const save = () => {
      saves += 1;
      return saving;
    };
    const keeper = keepChain({ node, blockTimeMs: 100, save, log: () => undefined });
    await vi.waitFor(async () => expect((await node.getBlockNumber()) - before).toBeGreaterThan(2n), WAIT);
    expect(saves).toBe(1);
    finish();
    await keeper.stop();
  });

  it('runs beside another one, and refuses a folder in use', async () => {
    const [left, right] = await Promise.all([start(dataDirOf('left')), start(dataDirOf('right'))]);
    const address = newAddress();
    await left.mint(address, 1n);
    expect(await balanceAt(right.rpcUrl, address)).toBe(0n);
    await expect(start(dataDirOf('left'))).rejects.toThrow(/in use by process/);
  });
});
