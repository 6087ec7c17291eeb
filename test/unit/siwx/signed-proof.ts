import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { getBase58Decoder } from '@solana/kit';
import { type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { encodeBase64Json } from '../../../src/lib/base64.ts';

export const account = privateKeyToAccount(`0x${'11'.repeat(32)}`);
export const stranger = privateKeyToAccount(`0x${'22'.repeat(32)}`);
export const WALLET = account.address.toLowerCase();

export const NOW_MS = Date.UTC(2026, 10, 20, 18, 0, 0);
const MINUTE_MS = 60_000;

export function iso(offsetMs = 0): string {
  return new Date(NOW_MS + offsetMs).toISOString();
}

/** The lines of an ordinary message, each replaceable by a test; undefined leaves a line out. */
export interface MessageLines {
  domain: string;
  account: string;
  address: string;
  statement: string | undefined;
  uri: string | undefined;
  version: string | undefined;
  chainId: string | undefined;
  nonce: string | undefined;
  issuedAt: string | undefined;
  expirationTime: string | undefined;
  notBefore: string | undefined;
}

export function messageOf(changes: Partial<MessageLines> = {}): string {
  const lines: MessageLines = {
    domain: 'gw.example.com:8443',
    account: 'Ethereum',
    address: account.address,
    statement: 'Sign in to Venice AI',
    uri: 'https://gw.example.com:8443/api/v1/x402/balance/0x?a=b',
    version: '1',
    chainId: '8453',
    nonce: '92d3fb13f6124ecc',
    issuedAt: iso(),
    expirationTime: iso(5 * MINUTE_MS),
    notBefore: undefined,
    ...changes,
  };
  const field = (label: string, value: string | undefined) =>
    value === undefined ? [] : [`${label}: ${value}`];
  return [
    `${lines.domain} wants you to sign in with your ${lines.account} account:`,
    lines.address,
    '',
    ...(lines.statement === undefined ? [] : [lines.statement]),
    '',
    ...field('URI', lines.uri),
    ...field('Version', lines.version),
    ...field('Chain ID', lines.chainId),
    ...field('Nonce', lines.nonce),
    ...field('Issued At', lines.issuedAt),
    ...field('Expiration Time', lines.expirationTime),
    ...field('Not Before', lines.notBefore),
  ].join('\n');
}

/** A header in the form that the published client sends: the signed text and some of its fields again. */
export async function proofHeader(
  message: string,
  changes: object = {},
  signer: PrivateKeyAccount = account,
): Promise<string> {
  const signature = await signer.signMessage({ message });
  return encodeBase64Json({
    address: account.address,
    message,
    signature,
    timestamp: NOW_MS,
    chainId: 8453,
    ...changes,
  });
}

export const SOLANA = 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp';

const toBase58 = (bytes: Uint8Array): string => getBase58Decoder().decode(bytes);

/** What PKCS #8 puts in front of a raw Ed25519 key. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

/** A Solana wallet with a key that is always the same for the same seed byte. */
export function solanaWallet(seed: number) {
  const der = Buffer.concat([PKCS8_PREFIX, Buffer.alloc(32, seed)]);
  const privateKey: KeyObject = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32);
  return {
    address: toBase58(publicKey),
    sign: (text: string): Buffer => sign(null, Buffer.from(text), privateKey),
    signBase58: (text: string): string => toBase58(sign(null, Buffer.from(text), privateKey)),
  };
}

export type SolanaWallet = ReturnType<typeof solanaWallet>;

/** The text that a Solana wallet signs: without a statement, one blank line and not two. */
export function solanaMessage(wallet: SolanaWallet, changes: Partial<MessageLines> = {}): string {
  const chainId = SOLANA.slice('solana:'.length);
  const text = messageOf({ account: 'Solana', address: wallet.address, chainId, ...changes });
  return 'statement' in changes && changes.statement === undefined ? text.replace('\n\n\n', '\n\n') : text;
}

/** A header with the signed text, as wallets' own tools send it. */
export function solanaHeader(wallet: SolanaWallet, message: string, changes: object = {}): string {
  return encodeBase64Json({
    address: wallet.address,
    message,
    signature: wallet.signBase58(message),
    type: 'ed25519',
    chainId: SOLANA,
    ...changes,
  });
}
