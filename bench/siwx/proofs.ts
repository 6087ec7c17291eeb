import { randomBytes } from 'node:crypto';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { verifyMessage } from 'viem/utils';
import { buildSiwxMessage, type SiwxMessage } from '../../src/customers/siwx-message.ts';
import type { WalletSignatures } from '../../src/customers/wallet-signatures.ts';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { personalSignDigest, signDigest } from '../../src/lib/secp256k1.ts';

export const ORIGIN = 'http://127.0.0.1:4020';
export const HOST = '127.0.0.1';

/** The baseline: the same route and the same check, with viem's function in the place of ours. */
export const viemSignatures: WalletSignatures = {
  verify: ({ wallet, text, signature }) =>
    verifyMessage({
      address: wallet as `0x${string}`,
      message: text,
      signature: signature as `0x${string}`,
    }),
};

export interface BenchWallet {
  privateKey: `0x${string}`;
  /** With its checksum, as clients write it. */
  address: string;
}

export function createWallets(count: number): BenchWallet[] {
  return Array.from({ length: count }, () => {
    const privateKey = generatePrivateKey();
    return { privateKey, address: privateKeyToAccount(privateKey).address };
  });
}

/** A fresh proof in both forms that clients send: with the text, and with its fields. */
export function signProof({ privateKey, address }: BenchWallet): { text: string; fields: string } {
  const message: SiwxMessage = {
    account: 'Ethereum',
    domain: new URL(ORIGIN).host,
    address,
    statement: 'Sign in to Venice AI',
    uri: `${ORIGIN}/api/v1/x402/balance/${address}`,
    version: '1',
    chainId: '8453',
    nonce: randomBytes(8).toString('hex'),
    // A little ago: the baseline refuses what is issued in its future.
    issuedAt: new Date(Date.now() - 1_000).toISOString(),
    expirationTime: new Date(Date.now() + 299_000).toISOString(),
    notBefore: undefined,
    requestId: undefined,
    resources: undefined,
  };
  const signed = buildSiwxMessage(message);
  const { r, s, yParity } = signDigest(personalSignDigest(signed), privateKey);
  const signature = `${r}${s.slice(2)}${yParity === 0 ? '1b' : '1c'}`;
  const { account: _, ...lines } = message;
  return {
    text: encodeBase64Json({ address, message: signed, signature, chainId: 8453, timestamp: Date.now() }),
    fields: encodeBase64Json({ ...lines, chainId: 'eip155:8453', type: 'eip191', signature }),
  };
}
