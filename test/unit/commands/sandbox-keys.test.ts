import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { loadSandboxKeys } from '../../../src/commands/sandbox-keys.ts';
import { newSvmKey } from '../../support/svm-key.ts';

let dataDir: string;
let file: string;

beforeEach(async () => {
  dataDir = await mkdtemp(path.join(tmpdir(), 'sandbox-keys-'));
  file = path.join(dataDir, 'sandbox-keys.json');
});

afterEach(() => rm(dataDir, { recursive: true, force: true }));

it('are made once and name the accounts that they control', async () => {
  const { address, secret } = newSvmKey();
  await writeFile(file, JSON.stringify({ svmReceiverKey: secret }));
  const keys = loadSandboxKeys(dataDir);
  expect(keys.svmPayTo).toBe(address);
  expect(keys.svmFeePayer).not.toBe(address);
  expect(loadSandboxKeys(dataDir)).toEqual(keys);
});

it('are kept when one of them is damaged, which is named', async () => {
  const kept = loadSandboxKeys(dataDir);
  const [one, other] = [newSvmKey().secret, newSvmKey().secret];
  const damaged = one.slice(0, 44) + other.slice(44);
  await writeFile(file, JSON.stringify({ ...kept, svmReceiverKey: damaged }));
  expect(() => loadSandboxKeys(dataDir)).toThrow(/svmReceiverKey in sandbox-keys\.json is damaged/);
  expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ evmReceiverKey: kept.evmReceiverKey });
});
