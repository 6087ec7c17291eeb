import { parseArgs } from 'node:util';
import type { EvmWallet } from '../client/evm-wallet.ts';
import type { Wallet } from '../client/terms.ts';
import { ConfigError } from '../config/read.ts';
import { nanoToBaseUnits, parseUsd } from '../lib/money.ts';
import { readSecret, readWallet } from './topup-wallet.ts';

export const TOPUP_USAGE = `usage: topup-gateway topup --dialect venice|dria --amount <USDC> --url <origin> [options]

  --network <name>       pay on this network only, e.g. base, eip155:8453 or solana
  --key-file <file>      file with the wallet's private key (else WALLET_PRIVATE_KEY): hex for EVM networks; for Solana
                         base58, or the file of solana-keygen
  --rpc-url <url>        Solana: node that tells a recent block (else SOLANA_RPC_URL)
  --sandbox              Solana: use the node of the sandbox at --url
  --api-key-file <file>  dria: file with the API key to credit (else DRIA_API_KEY, else the wallet gets a new one)
  --wait <seconds>       how long to ask again while the outcome is unknown (default 90)
  --yes                  pay without asking
  --json                 JSON on standard output, also on a terminal

Dria makes offers to API keys alone: without one the command asks first whether the wallet may sign a text to obtain it.

exit codes: 0 paid, 1 no payment signed (no server, no offer, or an odd one), 2 usage, 3 refused: no money moved,
            4 outcome unknown: do not pay again, 5 not confirmed, no payment signed
`;

/** What `topup` was told to do, read and checked. Dria knows EVM networks alone. */
export type TopupOrder = (
  | { dialect: 'venice'; wallet: Wallet }
  | { dialect: 'dria'; wallet: EvmWallet; apiKey: string | undefined }
) & {
  origin: URL;
  amount: string;
  amountBaseUnits: bigint;
  waitMs: number;
  isConfirmed: boolean;
};

/**
 * @returns what is wrong with the call, when something is
 * @throws ConfigError about keys and the RPC URL
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
  if (!/^\d{1,5}$/.test(wait)) return '--wait must be seconds';
  const wallet = readWallet(
    {
      origin,
      network,
      keyFile: values['key-file'],
      rpcUrl: values['rpc-url'],
      isSandbox: values.sandbox === true,
    },
    env,
  );
  if (typeof wallet === 'string') return wallet;
  const order = {
    origin,
    amount,
    amountBaseUnits: nanoToBaseUnits(nanoUsd, 6),
    waitMs: Number(wait) * 1000,
    isConfirmed: values.yes === true,
  };
  if (dialect === 'venice') return { ...order, dialect, wallet };
  if (wallet.family !== 'evm') {
    return '--dialect dria takes no Solana wallet: Dria registers wallets and sells on EVM networks only';
  }
  return { ...order, dialect: 'dria', wallet, apiKey: readApiKey(values['api-key-file'], env) };
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
      'rpc-url': text,
      sandbox: flag,
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

function readApiKey(file: string | undefined, env: NodeJS.ProcessEnv): string | undefined {
  const key = file === undefined ? env['DRIA_API_KEY'] : readSecret('--api-key-file', file);
  if (key && !/^[\x21-\x7e]{1,200}$/.test(key)) throw new ConfigError(['the API key is malformed']);
  return key || undefined;
}
