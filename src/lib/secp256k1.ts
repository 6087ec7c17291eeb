import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import type secp256k1 from 'secp256k1';
import { type Hex, hashMessage, hexToBytes, keccak256 } from 'viem';

/** The two operations in which the implementations differ; everything around them is shared. */
export interface Curve {
  readonly name: 'native' | 'viem';
  /**
   * @param compact r and s, 32 bytes each
   * @param recoveryId 0 or 1
   * @returns the uncompressed public key (65 bytes), or undefined when no key belongs to the signature
   */
  recover(digest: Uint8Array, compact: Uint8Array, recoveryId: number): Uint8Array | undefined;
  /** Deterministic (RFC 6979) with low s, so that every implementation gives the same signature. */
  sign(digest: Uint8Array, privateKey: Uint8Array): { compact: Uint8Array; recoveryId: number };
}

/** A signature over a digest, in the shape that transaction serialisers take. */
export interface DigestSignature {
  r: Hex;
  s: Hex;
  yParity: number;
}

export interface Secp256k1 {
  /** Which implementation does the work: `native` costs about 0.08 ms per recovery, `viem` about 1.5 ms. */
  readonly implementation: Curve['name'];
  /**
   * Finds the account that signed a digest.
   * @param digest 32 bytes
   * @param signature 65 bytes (r, s, v) as 0x hex; v is 27, 28, 0 or 1
   * @returns the lower-case address, or undefined when this is not a signature. A high s (the second,
   * malleable form of every signature) counts as none: wallets never produce it and USDC rejects it, so
   * accepting it here would only let a payment through that can never settle.
   */
  recoverAddress: (digest: Uint8Array, signature: string) => string | undefined;
  /** Signs a 32-byte digest with a private key given as 0x and 64 hex digits. */
  signDigest: (digest: Uint8Array, privateKey: string) => DigestSignature;
}

const require = createRequire(import.meta.url);

/** Half of the group order: the largest s that is in canonical form, as 64 hex digits. */
const MAX_LOW_S = '7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0';

const SIGNATURE = /^0x[0-9a-fA-F]{130}$/;
const RECOVERY_ID: Readonly<Record<string, number>> = { '00': 0, '01': 1, '1b': 0, '1c': 1 };

/** Builds the signature functions over one implementation. */
export function createSecp256k1(curve: Curve): Secp256k1 {
  return {
    implementation: curve.name,

    recoverAddress(digest, signature) {
      if (!SIGNATURE.test(signature)) return undefined;
      const hex = signature.slice(2).toLowerCase();
      const recoveryId = RECOVERY_ID[hex.slice(128)];
      if (recoveryId === undefined || hex.slice(64, 128) > MAX_LOW_S) return undefined;
      const publicKey = curve.recover(digest, Buffer.from(hex.slice(0, 128), 'hex'), recoveryId);
      if (publicKey === undefined) return undefined;
      return `0x${keccak256(publicKey.subarray(1)).slice(26)}`;
    },

    signDigest(digest, privateKey) {
      const { compact, recoveryId } = curve.sign(digest, hexToBytes(privateKey as Hex, { size: 32 }));
      const hex = Buffer.from(compact).toString('hex');
      return { r: `0x${hex.slice(0, 64)}`, s: `0x${hex.slice(64)}`, yParity: recoveryId };
    },
  };
}

type NativeBinding = Pick<typeof secp256k1, 'ecdsaRecover' | 'ecdsaSign' | 'contextRandomize'>;

/**
 * Loads libsecp256k1. The package's main entry is avoided on purpose: where its binary does not fit the
 * machine it falls back, silently, to a slow JavaScript implementation that nobody here has reviewed.
 * @returns undefined when the binary does not load.
 */
export function loadNativeCurve(): Curve | undefined {
  let binding: NativeBinding;
  try {
    binding = require('secp256k1/bindings.js') as NativeBinding;
    // Blinds signing against timing side channels.
    binding.contextRandomize(randomBytes(32));
  } catch {
    return undefined;
  }
  return {
    name: 'native',
    recover(digest, compact, recoveryId) {
      try {
        return binding.ecdsaRecover(compact, recoveryId, digest, false);
      } catch {
        return undefined;
      }
    },
    sign(digest, privateKey) {
      const { signature, recid } = binding.ecdsaSign(digest, privateKey);
      return { compact: signature, recoveryId: recid };
    },
  };
}

/** What is used of the curve implementation inside viem. */
interface NobleSecp256k1 {
  sign(digest: Uint8Array, privateKey: Uint8Array): NobleSignature;
  Signature: { fromCompact(compact: Uint8Array): NobleSignature };
}
interface NobleSignature {
  recovery: number;
  addRecoveryBit(recoveryId: number): NobleSignature;
  recoverPublicKey(digest: Uint8Array): { toRawBytes(compressed: boolean): Uint8Array };
  toCompactRawBytes(): Uint8Array;
}

/**
 * The curve that viem itself uses, resolved from viem so that it is always viem's version. viem's own
 * functions over it are asynchronous, which a transaction sender that signs under a row lock cannot use.
 */
export function loadViemCurve(): Curve {
  const fromViem = createRequire(require.resolve('viem'));
  const { secp256k1: noble } = fromViem('@noble/curves/secp256k1') as { secp256k1: NobleSecp256k1 };
  return {
    name: 'viem',
    recover(digest, compact, recoveryId) {
      try {
        const signature = noble.Signature.fromCompact(compact).addRecoveryBit(recoveryId);
        return signature.recoverPublicKey(digest).toRawBytes(false);
      } catch {
        return undefined;
      }
    },
    sign(digest, privateKey) {
      const signature = noble.sign(digest, privateKey);
      return { compact: signature.toCompactRawBytes(), recoveryId: signature.recovery };
    },
  };
}

const active = createSecp256k1(loadNativeCurve() ?? loadViemCurve());

/** The implementation that this process uses: `native` wherever its binary loads. */
export const SIGNATURE_IMPLEMENTATION = active.implementation;

export const recoverAddress = active.recoverAddress;
export const signDigest = active.signDigest;

/** The digest of a text signed by a wallet's personal_sign (EIP-191, version 0x45). */
export function personalSignDigest(text: string): Uint8Array {
  return hashMessage(text, 'bytes');
}
