import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

const CLI = path.resolve(import.meta.dirname, '../../src/cli.ts');
const TIMEOUT_MS = 120_000;

/** What `topup-gateway topup --json` says of a payment that was made. */
export interface CommandReceipt {
  transaction: string;
  credited: string;
  balance: string;
  /** The key that was made for the wallet, where the seller credits keys. */
  apiKey?: string;
}

/**
 * Pays with the gateway's own command-line tool. The key goes through the environment, because arguments can be
 * read by every user of the machine.
 * @throws Error with what the tool said when it did not pay
 */
export async function runTopup(order: {
  dialect: 'venice' | 'dria';
  amount: string;
  origin: string;
  privateKey: string;
}): Promise<CommandReceipt> {
  const { dialect, amount, origin, privateKey } = order;
  const args = ['topup', '--dialect', dialect, '--amount', amount, '--url', origin, '--yes', '--json'];
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', CLI, ...args], {
    env: { PATH: process.env['PATH'], WALLET_PRIVATE_KEY: privateKey },
    timeout: TIMEOUT_MS,
  });
  return JSON.parse(stdout) as CommandReceipt;
}
