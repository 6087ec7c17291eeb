import { spawn } from 'node:child_process';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { generateKeyPairSigner, SOLANA_ERROR__TRANSACTION_ERROR__ALREADY_PROCESSED } from '@solana/kit';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { LocalSolana } from '../../src/local/solana-chain.ts';
import { endWith, isAlive, openFolder, solanaPid, startInChild } from '../support/local-processes.ts';
import {
  connectSolana,
  fundedSolanaWallet,
  signSolanaTransaction,
  solanaRefusal,
  solanaTokenAccount,
  solanaUsdcBalance,
  startTestSolana,
} from '../support/solana.ts';

const WAIT = { timeout: 20_000, interval: 50 };

let root: Awaited<ReturnType<typeof openFolder>>;

beforeAll(async () => {
  root = await openFolder();
});

afterAll(() => root.remove());

function dataDirOf(name: string): string {
  return path.join(root.folder, name);
}

async function start(dataDir: string, lines: string[] = []): Promise<LocalSolana> {
  const chain = await startTestSolana({ dataDir, slotMs: 400, log: line => lines.push(line) });
  onTestFinished(() => chain.stop());
  return chain;
}

async function newAddress() {
  return (await generateKeyPairSigner()).address;
}

describe('a local Solana that is kept', () => {
  it('goes on where it stopped: address, money, history, blockhashes, slots and what was paid', async () => {
    const dataDir = dataDirOf('plain');
    const first = await start(dataDir);
    expect(first.restored).toBe(false);
    const wallet = await fundedSolanaWallet(first, 1_000_000n);
    const memo = { programAddress: 'MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr' as never };
    const { wire, signature } = await signSolanaTransaction(first, wallet, [memo]);
    const rpc = connectSolana(first);
    await rpc.sendTransaction(wire, { encoding: 'base64' }).send();
    const slot = await rpc.getSlot({ commitment: 'processed' }).send();
    const pid = await solanaPid(dataDir);
    await first.stop();
    expect(await isAlive(pid)).toBe(false);

    const second = await start(dataDir);
    expect(second).toMatchObject({ restored: true, rpcUrl: first.rpcUrl });
    expect(await solanaUsdcBalance(second, wallet.address)).toBe(1_000_000n);
    expect(await rpc.getSlot({ commitment: 'processed' }).send()).toBeGreaterThanOrEqual(slot);
    const account = await solanaTokenAccount(wallet.address);
    await second.advanceSlots(2);
    expect((await rpc.getSignaturesForAddress(account).send()).length).toBe(1);
    const { value } = await rpc.getSignatureStatuses([signature], { searchTransactionHistory: true }).send();
    expect(value[0]?.err).toBeNull();
    // Its blockhash is still good, so only the memory of it keeps it from running again.
    expect(await solanaRefusal(rpc.sendTransaction(wire, { encoding: 'base64' }).send())).toBe(
      SOLANA_ERROR__TRANSACTION_ERROR__ALREADY_PROCESSED,
    );
    await second.mint(wallet.address, 1n);
    expect(await solanaUsdcBalance(second, wallet.address)).toBe(1_000_001n);
    await second.stop();
    expect(await solanaUsdcBalance(await start(dataDir), wallet.address)).toBe(1_000_001n);
  });

  it('saves itself and ends when its parent is killed', async () => {
    const dataDir = dataDirOf('orphan');
    const { child, started } = await startInChild(dataDir, ['solana']);
    const pid = await solanaPid(dataDir);
    const address = await newAddress();
    const rpc = connectSolana(started);
    await rpc.requestAirdrop(address, 5_000_000n as never).send();
    await endWith(child, 'SIGKILL');
    // Whether it has ended by itself or is ended: what it knew is there.
    const chain = await start(dataDir);
    expect(await isAlive(pid)).toBe(false);
    expect(chain.restored).toBe(true);
    expect((await connectSolana(chain).getBalance(address).send()).value).toBe(5_000_000n);
  });

  it('does not outlive a parent that nobody starts again', async () => {
    const dataDir = dataDirOf('alone');
    const { child } = await startInChild(dataDir, ['solana']);
    const pid = await solanaPid(dataDir);
    await endWith(child, 'SIGKILL');
    await vi.waitFor(async () => expect(await isAlive(pid)).toBe(false), WAIT);
  });

  it('comes back as it was saved when the node itself is killed', async () => {
    const dataDir = dataDirOf('killed');
    const lines: string[] = [];
    const first = await start(dataDir, lines);
    const address = await newAddress();
    await first.mint(address, 9n);
    const historyFile = path.join(dataDir, 'solana', 'transactions-1.jsonl');
    const before = await readFile(path.join(dataDir, 'solana', 'state.bin'));
    await vi.waitFor(async () => {
      expect(await readFile(historyFile, 'utf8')).toContain(await solanaTokenAccount(address));
      expect((await readFile(path.join(dataDir, 'solana', 'state.bin'))).equals(before)).toBe(false);
    }, WAIT);
    process.kill(await solanaPid(dataDir), 'SIGKILL');
    await vi.waitFor(() => expect(lines).toContain('the local Solana ended unexpectedly'), WAIT);
    await first.stop();
    const second = await start(dataDir);
    expect(second.restored).toBe(true);
    expect(await solanaUsdcBalance(second, address)).toBe(9n);
  });

  it.each(['state.bin', 'transactions-1.jsonl'])(
    'starts empty, and says so, when %s is damaged',
    async file => {
      const dataDir = dataDirOf(`damaged-${file}`);
      const first = await start(dataDir);
      const address = await newAddress();
      await first.mint(address, 9n);
      await first.stop();
      await truncate(path.join(dataDir, 'solana', file), 100);
      const lines: string[] = [];
      const second = await start(dataDir, lines);
      expect(second.restored).toBe(false);
      expect(lines).toEqual(['the saved Solana chain is damaged']);
      expect(await solanaUsdcBalance(second, address)).toBe(0n);
      await second.mint(address, 1n);
      await second.stop();
      const third = await start(dataDir);
      expect(third.restored).toBe(true);
      expect(await solanaUsdcBalance(third, address)).toBe(1n);
    },
  );

  it('is emptied by a reset, at the same address, and stays so', async () => {
    const dataDir = dataDirOf('reset');
    const chain = await start(dataDir);
    const [address, other] = [await newAddress(), await newAddress()];
    const old = await chain.mint(address, 9n);
    await chain.reset();
    expect(await solanaUsdcBalance(chain, address)).toBe(0n);
    const { value } = await connectSolana(chain)
      .getSignatureStatuses([old as never])
      .send();
    expect(value).toEqual([null]);
    await chain.mint(other, 3n);
    await chain.stop();
    const again = await start(dataDir);
    expect(await solanaUsdcBalance(again, address)).toBe(0n);
    expect(await solanaUsdcBalance(again, other)).toBe(3n);
  });

  it('never stops a stranger that has the number of its old node', async () => {
    const dataDir = dataDirOf('stranger');
    await (await start(dataDir)).stop();
    const stranger = spawn('sleep', ['60']);
    onTestFinished(() => void stranger.kill());
    const noteFile = path.join(dataDir, 'solana', 'node.json');
    const note = JSON.parse(await readFile(noteFile, 'utf8')) as object;
    await writeFile(noteFile, JSON.stringify({ ...note, pid: stranger.pid }));
    await (await start(dataDir)).stop();
    expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
  });

  it('runs beside another one, and refuses a folder in use', async () => {
    const [left, right] = await Promise.all([start(dataDirOf('left')), start(dataDirOf('right'))]);
    const address = await newAddress();
    await left.mint(address, 1n);
    expect(await solanaUsdcBalance(right, address)).toBe(0n);
    await expect(start(dataDirOf('left'))).rejects.toThrow(/in use by process/);
  });
});
