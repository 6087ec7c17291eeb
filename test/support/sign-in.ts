import type { Hex } from 'viem';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { newId } from '../../src/lib/ids.ts';

/** Host and port of `PUBLIC_ORIGIN` in a test gateway. */
export const HOST = '127.0.0.1:4020';

/** What signs for an EVM account. */
interface EvmSigner {
  address: string;
  signMessage(text: { message: string }): Promise<Hex>;
}

export interface SignedText {
  address: string;
  message: string;
  signature: Hex;
}

/** A fresh Sign-In-With-X text of an EVM wallet on Base, and its signature. */
export async function signIn(wallet: EvmSigner, statement = 'Sign in'): Promise<SignedText> {
  const { address } = wallet;
  const message = [
    `${HOST} wants you to sign in with your Ethereum account:\n${address}\n\n${statement}\n`,
    `URI: http://${HOST}\nVersion: 1\nChain ID: 8453\nNonce: ${newId().replaceAll('-', '')}`,
    `Issued At: ${new Date().toISOString()}`,
  ].join('\n');
  return { address, message, signature: await wallet.signMessage({ message }) };
}

/** The same as a header value. */
export async function signInProof(wallet: EvmSigner, statement?: string): Promise<string> {
  return encodeBase64Json(await signIn(wallet, statement));
}
