import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import { encodeBase58 } from '../lib/svm-address.ts';
import { readSvmKey } from '../lib/svm-key.ts';

const SandboxKeys = Type.Object({
  evmPrivateKey: Type.String({ pattern: '^0x[0-9a-f]{64}$' }),
  evmReceiverKey: Type.String({ pattern: '^0x[0-9a-f]{64}$' }),
  svmPrivateKey: Type.String({ pattern: '^[1-9A-HJ-NP-Za-km-z]{80,88}$' }),
  svmReceiverKey: Type.String({ pattern: '^[1-9A-HJ-NP-Za-km-z]{80,88}$' }),
  adminApiKey: Type.String({ minLength: 32 }),
  mppSecretKey: Type.String({ minLength: 32 }),
});

/** Private keys with the addresses that they control. */
export type SandboxKeys = Static<typeof SandboxKeys> & {
  evmSender: string;
  evmPayTo: string;
  svmFeePayer: string;
  svmPayTo: string;
};

/**
 * The sandbox's own keys, made up once and kept in `DATA_DIR`. They are random and not the well-known
 * development keys: the local chains have the real ones' names and USDC's addresses, so a payment that somebody signs
 * with a real wallet would be good on the real chain too, and must then at least go to an address that only
 * this machine controls.
 */
export function loadSandboxKeys(dataDir: string): SandboxKeys {
  const file = path.join(dataDir, 'sandbox-keys.json');
  const kept: unknown = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  // A folder of an earlier version lacks the keys that came later.
  const complete = { ...newKeys(), ...(kept as Partial<Static<typeof SandboxKeys>>) };
  const keys = Value.Parse(SandboxKeys, complete);
  mkdirSync(dataDir, { recursive: true });
  writeFileSync(file, `${JSON.stringify(keys, null, 2)}\n`, { mode: 0o600 });
  const address = (key: string) => privateKeyToAddress(key as `0x${string}`).toLowerCase();
  return {
    ...keys,
    evmSender: address(keys.evmPrivateKey),
    evmPayTo: address(keys.evmReceiverKey),
    svmFeePayer: svmAddress(keys, 'svmPrivateKey'),
    svmPayTo: svmAddress(keys, 'svmReceiverKey'),
  };
}

function newKeys(): Static<typeof SandboxKeys> {
  return {
    evmPrivateKey: generatePrivateKey(),
    evmReceiverKey: generatePrivateKey(),
    svmPrivateKey: newSvmKey(),
    svmReceiverKey: newSvmKey(),
    adminApiKey: `sandbox_${randomBytes(24).toString('hex')}`,
    mppSecretKey: randomBytes(32).toString('hex'),
  };
}

const KEY_BYTES = 32;

/** Seed and public key in base58, as wallets export them. */
function newSvmKey(): string {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-KEY_BYTES);
  const address = publicKey.export({ format: 'der', type: 'spki' }).subarray(-KEY_BYTES);
  return encodeBase58(Buffer.concat([seed, address]));
}

/** The other keys of the file stay what they are: money may have been sent to them. */
function svmAddress(keys: Static<typeof SandboxKeys>, name: 'svmPrivateKey' | 'svmReceiverKey'): string {
  const read = readSvmKey(keys[name]);
  if (!read) {
    throw new Error(
      `${name} in sandbox-keys.json is damaged: keep a copy and take that line out for a new key`,
    );
  }
  return read.address;
}
