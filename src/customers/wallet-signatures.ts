import { verifyEd25519 } from '../lib/ed25519.ts';
import { personalSignDigest, recoverAddress } from '../lib/secp256k1.ts';
import { decodeBase58 } from '../lib/svm-address.ts';
import type { EvmClient } from '../ports/evm-client.ts';
import { createContractSignatures } from './contract-signatures.ts';

/** A text that an account is said to have signed. */
export interface SignedText {
  /** CAIP-2 id of the account's chain. */
  chain: string;
  /** Canonical address. */
  wallet: string;
  text: string;
  /** EVM: 0x hex (EIP-191). Solana: 64 bytes in base58 or base64. */
  signature: string;
}

export interface WalletSignatures {
  /**
   * Whether the account agrees to the text: by its key, or, for an EVM account that is a contract, in its own way
   * (ERC-1271).
   * @throws GatewayError `unavailable` when only the chain can tell and its node does not answer
   */
  verify(signed: SignedText): Promise<boolean>;
}

/** @param evmClients the nodes to ask about contract wallets; on other networks only keys can sign */
export function createWalletSignatures(evmClients: readonly EvmClient[]): WalletSignatures {
  const contracts = createContractSignatures(evmClients);
  return {
    async verify(signed) {
      if (!signed.chain.startsWith('eip155:')) return isSignedOnSolana(signed);
      const digest = personalSignDigest(signed.text);
      if (recoverAddress(digest, signed.signature) === signed.wallet) return true;
      return contracts.accept(signed, digest);
    },
  };
}

/** 64 bytes have at most 88 characters in either alphabet; decoding base58 costs the square of the length. */
const MAX_SIGNATURE_CHARACTERS = 90;

/**
 * Wallets write the 64 bytes in base58 or base64, and some texts are good in both alphabets. Both readings are
 * tried: that a wrong one verifies is as likely as a forgery.
 */
async function isSignedOnSolana({ wallet, text, signature }: SignedText): Promise<boolean> {
  if (signature.length > MAX_SIGNATURE_CHARACTERS) return false;
  const publicKey = decodeBase58(wallet);
  if (!publicKey) return false;
  const bytes = Buffer.from(text, 'utf8');
  const readings = [decodeBase58(signature), Buffer.from(signature, 'base64')];
  for (const reading of readings) {
    if (reading && (await verifyEd25519(bytes, reading, publicKey))) return true;
  }
  return false;
}
