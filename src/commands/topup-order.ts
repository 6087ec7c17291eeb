import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { EVM_NETWORKS } from '../chains/evm-networks.ts';
import type { KnownNetwork } from '../client/terms.ts';
import { createEvmWallet, type Wallet } from '../client/wallet.ts';
import { ConfigError, requireSetting } from '../config/read.ts';
import { isEvmPrivateKey } from '../config/values.ts';
import { nanoToBaseUnits, parseUsd } from '../lib/money.ts';

export const TOPUP_USAGE = `usage: topup-gateway topup --dialect venice|dria --amount <USDC> --url <origin> [options]

  --network <name>       pay on this network only, e.g. base or eip155:8453
  --key-file <file>      file with the wallet's private key (else WALLET_PRIVATE_KEY)
  --api-key-file <file>  dria: file with the API key to credit (else DRIA_API_KEY, else the wallet gets a new one)
  --wait <seconds>       how long to ask again while the outcome is unknown (default 90)
  --yes                  pay without asking
  --json                 JSON on standard output, also on a terminal

exit codes: 0 paid, 1 nothing signed (no server, no offer, or an odd one), 2 usage, 3 refused: no money moved,
            4 outcome unknown: do not pay again, 5 not confirmed
`;

/** What `topup` was told to do, read and checked. */
export interface TopupOrder {
  dialect: string;
  origin: URL;
  amount: string;
  amountBaseUnits: bigint;
  networks: readonly KnownNetwork[];
  wallet: Wallet;
  apiKey: string | undefined;
  waitMs: number;
  isConfirmed: boolean;
}

/**
 * @returns what is wrong with the call, when something is
 * @throws ConfigError about keys
 */
export function readTopupOrder(args: string[], env: NodeJS.ProcessEnv): TopupOrder | string {
  let values: ReturnType<typeof parseOptions>;
  try {
    values = parseOptions(args);
  } catch (error) {
    return (error as Error).message;
  }
  const { dialect = '', amount = '', url = '', network, wait = '90' } = values;
  if (!['venice', 'dria'].includes(dialect)) return '--dialect must be venice or dria';
  const nanoUsd = parseUsd(amount);
  const decimals = dialect === 'dria' ? 2 : 6;
  if (!nanoUsd || (amount.split('.')[1] ?? '').length > decimals) {
    return `--amount must be USDC above 0 with at most ${decimals} decimals, e.g. 10`;
  }
  const origin = readOrigin(url);
  if (!origin) return '--url must be the https origin of a seller (http on this machine only)';
  const networks = EVM_NETWORKS.filter(
    each => network === undefined || [each.network, each.alias].includes(network),
  );
  if (networks.length === 0) return `--network: ${network} is not known here`;
  if (!/^\d{1,5}$/.test(wait)) return '--wait must be seconds';
  return {
    dialect,
    origin,
    amount,
    amountBaseUnits: nanoToBaseUnits(nanoUsd, 6),
    networks,
    wallet: createEvmWallet(readPrivateKey(values['key-file'], env)),
    apiKey: readApiKey(values['api-key-file'], env),
    waitMs: Number(wait) * 1000,
    isConfirmed: values.yes === true,
  };
}

function parseOptions(args: string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  return parseArgs({
    args,
    options: {
      dialect: text,
      amount: text,
      url: text,
      network: text,
      wait: text,
      'key-file': text,
      'api-key-file': text,
      yes: flag,
      json: flag,
    },
  }).values;
}

/** On a foreign wire anybody could put another receiver into the offer, so only TLS will do there. */
function readOrigin(text: string): URL | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const isLocal = ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname);
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLocal) ? url : undefined;
}

function readPrivateKey(file: string | undefined, env: NodeJS.ProcessEnv): string {
  const name = file === undefined ? 'WALLET_PRIVATE_KEY' : '--key-file';
  const key = file === undefined ? requireSetting('WALLET_PRIVATE_KEY', env) : readSecret('--key-file', file);
  const prefixed = key.startsWith('0x') ? key : `0x${key}`;
  if (!isEvmPrivateKey(prefixed)) throw new ConfigError([`${name} must be 64 hex digits that are a key`]);
  return prefixed;
}

function readApiKey(file: string | undefined, env: NodeJS.ProcessEnv): string | undefined {
  const key = file === undefined ? env['DRIA_API_KEY'] : readSecret('--api-key-file', file);
  if (key && !/^[\x21-\x7e]{1,200}$/.test(key)) throw new ConfigError(['the API key is malformed']);
  return key || undefined;
}

function readSecret(option: string, file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    throw new ConfigError([`${option} names a file that cannot be read`]);
  }
}
