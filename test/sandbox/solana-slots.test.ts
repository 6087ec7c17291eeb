import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type SandboxChain, startSandboxChains } from '../../src/commands/sandbox-chains.ts';
import { openSnapshotFiles } from '../../src/local/solana/snapshot.ts';
import { openFolder } from '../support/local-processes.ts';
import { connectSolana, SOLANA_MAINNET } from '../support/solana.ts';
import { newSvmKey } from '../support/svm-key.ts';

/** Ten million slots of 400 ms: whatever the test takes itself is nothing against it. */
const PAUSE_MS = 4_000_000_000;
const PAUSE_SLOTS = 10_000_000;

let root: Awaited<ReturnType<typeof openFolder>>;

beforeAll(async () => {
  root = await openFolder();
});

afterAll(() => root.remove());

async function start(): Promise<SandboxChain> {
  const [chain] = await startSandboxChains({
    dataDir: root.folder,
    networks: [SOLANA_MAINNET],
    evm: { payTo: '', sender: '' },
    svm: { payTo: newSvmKey().address, feePayer: newSvmKey().address },
    log: () => undefined,
  });
  if (!chain) throw new Error('the sandbox has no Solana');
  return chain;
}

const newestSlot = async ({ rpcUrl }: SandboxChain) =>
  Number(await connectSolana({ rpcUrl }).getSlot({ commitment: 'processed' }).send());

it('the sandbox’s Solana has slots of 400 ms, as the real one', async () => {
  const first = await start();
  await first.prepare();
  const before = await newestSlot(first);
  await first.stop();

  const files = openSnapshotFiles(path.join(root.folder, 'solana'));
  const saved = await files.load();
  if (!saved) throw new Error('nothing was saved');
  await files.save({ ...saved.moment, atMs: saved.moment.atMs - PAUSE_MS }, []);

  const second = await start();
  const passed = (await newestSlot(second)) - before;
  await second.stop();
  expect(second.restored).toBe(true);
  expect(passed / PAUSE_SLOTS).toBeCloseTo(1, 2);
});
