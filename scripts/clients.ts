import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { withDeadline } from '../src/lib/deadline.ts';

/** The package that holds the published wallet clients; they are too large for the gateway's own tree. */
export const CLIENTS_FOLDER = path.resolve(import.meta.dirname, '../test/clients');

/** Inside the tree that it describes, so that whoever deletes the tree deletes it too. */
const INSTALLED_FILE = path.join(CLIENTS_FOLDER, 'node_modules', '.installed-lock-sha256');

const INSTALL_TIMEOUT_MS = 240_000;

/** What npm wrote last is where it says why it failed. */
const NPM_OUTPUT_CHARACTERS = 2_000;

/**
 * Installs the published clients when they are missing or their lock file has changed, and says so in one
 * line. Takes no time otherwise.
 * @throws Error with npm's own words when they cannot be installed
 */
export async function ensureClients(say: (line: string) => void = line => console.log(line)): Promise<void> {
  const wanted = await lockHash();
  const installed = await readFile(INSTALLED_FILE, 'utf8').catch(() => undefined);
  if (installed === wanted) return;
  say('installing the published wallet clients into test/clients (once, about 290 MB)');
  await runNpmCi();
  await writeFile(INSTALLED_FILE, wanted);
}

async function lockHash(): Promise<string> {
  const hash = createHash('sha256');
  for (const name of ['package.json', 'package-lock.json']) {
    hash.update(await readFile(path.join(CLIENTS_FOLDER, name)));
  }
  return hash.digest('hex');
}

async function runNpmCi(): Promise<void> {
  // Nothing that the clients load in Node needs building, so no package gets to run a script here.
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = spawn('npm', ['ci', ...options], {
    cwd: CLIENTS_FOLDER,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-NPM_OUTPUT_CHARACTERS);
  };
  npm.stdout.on('data', keep);
  npm.stderr.on('data', keep);
  try {
    const [code] = await withDeadline('npm ci in test/clients', INSTALL_TIMEOUT_MS, once(npm, 'close'));
    if (code !== 0) throw new Error(`npm ci in test/clients failed with exit code ${code}:\n${output}`);
  } finally {
    npm.kill();
  }
}
