import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';

const SandboxKeys = Type.Object({
  evmPrivateKey: Type.String({ pattern: '^0x[0-9a-f]{64}$' }),
  evmReceiverKey: Type.String({ pattern: '^0x[0-9a-f]{64}$' }),
});

/** Private keys with the addresses that they control. */
export type SandboxKeys = Static<typeof SandboxKeys> & { evmSender: string; evmPayTo: string };

/**
 * The sandbox's own keys, made up once and kept in `DATA_DIR`. They are random and not the well-known
 * development keys: the local chain has Base's chain id and USDC's address, so a payment that somebody signs
 * with a real wallet would be good on the real chain too, and must then at least go to an address that only
 * this machine controls.
 */
export function loadSandboxKeys(dataDir: string): SandboxKeys {
  const file = path.join(dataDir, 'sandbox-keys.json');
  if (!existsSync(file)) {
    mkdirSync(dataDir, { recursive: true });
    const fresh: Static<typeof SandboxKeys> = {
      evmPrivateKey: generatePrivateKey(),
      evmReceiverKey: generatePrivateKey(),
    };
    writeFileSync(file, `${JSON.stringify(fresh, null, 2)}\n`, { mode: 0o600 });
  }
  const keys = Value.Parse(SandboxKeys, JSON.parse(readFileSync(file, 'utf8')));
  const address = (key: string) => privateKeyToAddress(key as `0x${string}`).toLowerCase();
  return { ...keys, evmSender: address(keys.evmPrivateKey), evmPayTo: address(keys.evmReceiverKey) };
}
