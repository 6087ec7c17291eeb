import { randomBytes } from 'node:crypto';
import { privateKeyToAddress } from 'viem/accounts';
import { authorizationDigest, domainSeparator } from '../lib/eip3009.ts';
import { personalSignDigest, signDigest } from '../lib/secp256k1.ts';
import type { PaymentTerms } from './terms.ts';

/** A signed permission as x402 carries it in `payload`; every integer a decimal string. */
export interface SignedPayload {
  signature: string;
  authorization: {
    from: string;
    to: string;
    value: string;
    validAfter: string;
    validBefore: string;
    nonce: string;
  };
}

export interface Wallet {
  /** Lower case. */
  address: string;
  signPayment(terms: PaymentTerms, nowMs: number): SignedPayload;
  /** EIP-191. */
  signText(text: string): string;
}

/** Clocks differ: the permission is good since a while ago. */
const VALID_SINCE_SECONDS = 600;

/** A wallet that is one key of EVM networks, given as 0x and 64 hex digits. */
export function createEvmWallet(privateKey: string): Wallet {
  const address = privateKeyToAddress(privateKey as `0x${string}`).toLowerCase();
  const sign = (digest: Uint8Array) => {
    const { r, s, yParity } = signDigest(digest, privateKey);
    return `${r}${s.slice(2)}${yParity === 0 ? '1b' : '1c'}`;
  };
  return {
    address,
    signText: text => sign(personalSignDigest(text)),
    signPayment({ network, payTo, amountBaseUnits, maxTimeoutSeconds }, nowMs) {
      const { usdc, chainId } = network;
      const now = BigInt(Math.floor(nowMs / 1000));
      const authorization = {
        from: address,
        to: payTo,
        value: amountBaseUnits,
        validAfter: now - BigInt(VALID_SINCE_SECONDS),
        validBefore: now + BigInt(maxTimeoutSeconds),
        nonce: `0x${randomBytes(32).toString('hex')}`,
      };
      const { name, version, address: verifyingContract } = usdc;
      const separator = domainSeparator({ name, version, chainId, verifyingContract });
      return {
        signature: sign(authorizationDigest(separator, authorization)),
        authorization: {
          ...authorization,
          value: authorization.value.toString(),
          validAfter: authorization.validAfter.toString(),
          validBefore: authorization.validBefore.toString(),
        },
      };
    },
  };
}
