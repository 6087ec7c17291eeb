import { randomBytes } from 'node:crypto';
import { privateKeyToAddress } from 'viem/accounts';
import { authorizationDigest, domainSeparator } from '../lib/eip3009.ts';
import { canonicalEvmAddress } from '../lib/evm-address.ts';
import { personalSignDigest, signDigest } from '../lib/secp256k1.ts';
import {
  type CheckedEntry,
  checkEntry,
  type KnownNetwork,
  type OfferEntry,
  refuse,
  type SignedPayment,
  show,
  type Wallet,
} from './terms.ts';

export interface KnownEvmNetwork extends KnownNetwork {
  chainId: number;
  /** The token in lower case, with the EIP-712 name and version that its signatures are made under. */
  usdc: KnownNetwork['usdc'] & { name: string; version: string };
}

export interface EvmWallet extends Wallet {
  family: 'evm';
  /** EIP-191. */
  signText(text: string): string;
}

/** Clocks differ: the permission is good since a while ago. */
const VALID_SINCE_SECONDS = 600;

/**
 * A wallet that is one key of EVM networks; it pays by EIP-3009.
 * @param privateKey 0x and 64 hex digits
 */
export function createEvmWallet(privateKey: string, networks: readonly KnownEvmNetwork[]): EvmWallet {
  const address = privateKeyToAddress(privateKey as `0x${string}`).toLowerCase();
  const sign = (digest: Uint8Array) => {
    const { r, s, yParity } = signDigest(digest, privateKey);
    return `${r}${s.slice(2)}${yParity === 0 ? '1b' : '1c'}`;
  };

  /** A permission that the token's contract takes from anybody who brings it. */
  function signPayment(
    { usdc, chainId }: KnownEvmNetwork,
    transfer: { payTo: string; amountBaseUnits: bigint; maxTimeoutSeconds: number },
    nowMs: number,
  ): SignedPayment {
    const now = BigInt(Math.floor(nowMs / 1000));
    const authorization = {
      from: address,
      to: transfer.payTo,
      value: transfer.amountBaseUnits,
      validAfter: now - BigInt(VALID_SINCE_SECONDS),
      validBefore: now + BigInt(transfer.maxTimeoutSeconds),
      nonce: `0x${randomBytes(32).toString('hex')}`,
    };
    const { name, version, address: verifyingContract } = usdc;
    const separator = domainSeparator({ name, version, chainId, verifyingContract });
    return {
      payload: {
        signature: sign(authorizationDigest(separator, authorization)),
        authorization: {
          ...authorization,
          value: authorization.value.toString(),
          validAfter: authorization.validAfter.toString(),
          validBefore: authorization.validBefore.toString(),
        },
      },
      signedUntilMs: Number(authorization.validBefore) * 1000,
    };
  }

  return {
    family: 'evm',
    address,
    networks,
    signText: text => sign(personalSignDigest(text)),
    checkEntry(entry: OfferEntry): CheckedEntry {
      const checked = checkEntry({ entry, networks, payer: address, readAddress });
      const { network, payTo, maxTimeoutSeconds } = checked;
      const extra = (entry['extra'] ?? {}) as OfferEntry;
      if (extra['name'] !== network.usdc.name || extra['version'] !== network.usdc.version) {
        throw refuse(
          `a signature for ${show(extra['name'])} ${show(extra['version'])}, which no USDC would take`,
        );
      }
      return {
        ...checked,
        sign: async (amountBaseUnits, nowMs) =>
          signPayment(network, { payTo, amountBaseUnits, maxTimeoutSeconds }, nowMs),
      };
    },
  };
}

/** What is sent to the zero address is nobody's. */
function readAddress(value: unknown): string | undefined {
  const address = typeof value === 'string' ? canonicalEvmAddress(value) : undefined;
  return address === undefined || BigInt(address) === 0n ? undefined : address;
}
