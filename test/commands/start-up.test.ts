import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import { describe, expect, inject, it } from 'vitest';
import type { EvmClient } from '../../src/ports/evm-client.ts';
import { logStartUpChecks } from '../../src/services/start-up.ts';
import { runCommand } from '../support/cli.ts';
import { startFacilitator } from '../support/facilitator.ts';
import { startGateway, type TestGatewayOptions } from '../support/gateway.ts';

/** Call data of `DOMAIN_SEPARATOR()` and `decimals()`. */
const DOMAIN_SEPARATOR = '0x3644e515';
const DECIMALS = '0x313ce567';

/** What a gateway with these settings says at start. */
async function complaints(options: TestGatewayOptions): Promise<{ errors: string[]; warnings: string[] }> {
  const gateway = await startGateway(options);
  const errors: string[] = [];
  const warnings: string[] = [];
  await logStartUpChecks(gateway.services, {
    info: () => undefined,
    warn: fields => void warnings.push(String(fields['note'])),
    error: fields => void errors.push(String(fields['problem'])),
  });
  await gateway.stop();
  return { errors, warnings };
}

/** A token that answers one of its calls in another way. */
function otherToken(call: string, answer: string) {
  return (client: EvmClient): EvmClient => ({
    ...client,
    call: (to, data, options) => (data === call ? Promise.resolve(answer) : client.call(to, data, options)),
  });
}

const word = (hex: string) => `0x${hex.padStart(64, '0')}`;

describe('the checks at start', () => {
  it('find nothing wrong with the local chain', async () => {
    expect(await complaints({})).toEqual({ errors: [], warnings: [] });
  });

  it('name the setting of a node that serves another chain', async () => {
    const settings = { NETWORKS: 'eip155:8453,eip155:84532', BASE_SEPOLIA_RPC_URL: inject('rpcUrl') };
    const { errors } = await complaints({ settings });
    expect(errors).toContainEqual(
      expect.stringMatching(/^BASE_SEPOLIA_RPC_URL serves chain 8453, .* 84532$/),
    );
  });

  it.each([
    ['another EIP-712 domain', DOMAIN_SEPARATOR, word('1'), /^BASE_RPC_URL: .* another EIP-712 domain/],
    ['other decimals', DECIMALS, word('12'), /^BASE_RPC_URL: .* other decimals/],
  ])('name the setting of a node whose token has %s', async (_, call, answer, expected) => {
    const { errors } = await complaints({ seams: { evmClient: otherToken(call, answer) } });
    expect(errors).toEqual([expect.stringMatching(expected)]);
  });

  it('name the setting of a key without gas, as the doctor does', async () => {
    const key = generatePrivateKey();
    const address = privateKeyToAddress(key).toLowerCase();
    const problem = `EVM_PRIVATE_KEY: ${address} needs gas on Base`;
    const settings = { EVM_PRIVATE_KEY: key };
    expect(await complaints({ settings })).toEqual({
      errors: [problem, 'FACILITATORS: embedded: it can not settle at present'],
      warnings: [],
    });
    const gateway = await startGateway({ settings });
    expect(await runCommand(gateway, ['doctor', '--json'])).toMatchObject({
      code: 1,
      output: {
        checks: expect.arrayContaining([{ name: 'Base gas', ok: false, problems: [problem], notes: [] }]),
      },
    });
    await gateway.stop();
  });

  it('name a facilitator that does not support our network, as an error when there is no other', async () => {
    const facilitator = await startFacilitator({ versions: 'none' });
    const problem = new RegExp(`^FACILITATORS: ${facilitator.url}: it does not support eip155:8453`);
    const alone = await complaints({ settings: { FACILITATORS: facilitator.url, EVM_PRIVATE_KEY: '' } });
    expect(alone.errors).toEqual([expect.stringMatching(problem)]);
    const listed = await complaints({ settings: { FACILITATORS: `${facilitator.url},embedded` } });
    expect(listed).toEqual({ errors: [], warnings: [expect.stringMatching(problem)] });
    await facilitator.stop();
  });

  it('wait for a facilitator that takes its time to say what it supports, and ask it once', async () => {
    let asked = 0;
    const server = createServer((_, response) => {
      asked += 1;
      void sleep(500).then(() => response.end(JSON.stringify({ kinds: [], extensions: [], signers: {} })));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { errors } = await complaints({ settings: { FACILITATORS: url, EVM_PRIVATE_KEY: '' } });
    expect([errors, asked]).toEqual([[expect.stringContaining('it does not support eip155:8453')], 1]);
    server.close();
  });
});
