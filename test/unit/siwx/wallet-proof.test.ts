import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ProofReason } from '../../../src/customers/proof-reasons.ts';
import { checkWalletProof, signInHost } from '../../../src/customers/wallet-proof.ts';
import { createWalletSignatures } from '../../../src/customers/wallet-signatures.ts';
import { encodeBase64Json } from '../../../src/lib/base64.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import {
  account,
  iso,
  type MessageLines,
  messageOf,
  NOW_MS,
  proofHeader,
  stranger,
  WALLET,
} from './signed-proof.ts';

const checks = {
  domains: ['gw.example.com', 'api.venice.ai'],
  nowMs: NOW_MS,
  signatures: createWalletSignatures([]),
};

async function reasonOf(header: string, nowMs = NOW_MS): Promise<unknown> {
  try {
    await checkWalletProof(header, { ...checks, nowMs });
  } catch (error) {
    if (error instanceof GatewayError && error.code === 'proof_invalid') return error.details?.['reason'];
    throw error;
  }
  return expect.unreachable('the proof was accepted');
}

/** A structured payload: the signature is over the text that its fields make. */
async function structured(changes: Record<string, unknown> = {}): Promise<string> {
  const fields = {
    domain: 'gw.example.com:8443',
    address: account.address,
    statement: 'Sign in to Venice AI',
    uri: 'https://gw.example.com:8443/api/v1/chat/completions',
    version: '1',
    chainId: 'eip155:8453',
    type: 'eip191',
    nonce: 'abcdef0123456789',
    issuedAt: iso(),
    expirationTime: iso(300_000),
  };
  const { chainId: _, type: __, ...lines } = fields;
  const message = messageOf({ ...lines, chainId: '8453' });
  const signature = await account.signMessage({ message });
  return encodeBase64Json({ ...fields, signature, ...changes });
}

describe('accepted proofs', () => {
  const expected = {
    wallet: WALLET,
    chain: 'eip155:8453',
    nonce: '92d3fb13f6124ecc',
    expiresAtMs: NOW_MS + 300_000,
    statement: 'Sign in to Venice AI',
  };

  it.each<[string, object]>([
    ['as the published client sends it', {}],
    ['without the optional fields', { timestamp: undefined, chainId: undefined }],
    ['with the chain as text', { chainId: '8453' }],
    ['with the chain as CAIP-2', { chainId: 'eip155:8453' }],
    ['with a lower-case address', { address: WALLET }],
    ['with its type', { type: 'eip191' }],
    ['with the timestamp at its limit', { timestamp: NOW_MS + 30_000 }],
  ])('%s', async (_, changes) => {
    expect(await checkWalletProof(await proofHeader(messageOf(), changes), checks)).toEqual(expected);
  });

  it.each<[string, Partial<MessageLines>]>([
    ['no statement', { statement: undefined }],
    ['another statement', { statement: 'Sign in to Venice API' }],
    ['another allowed domain', { domain: 'api.venice.ai' }],
    ['a domain with scheme and path', { domain: 'https://GW.example.com/login' }],
    ['a lower-case address', { address: WALLET }],
    ['any URI', { uri: 'urn:whatever' }],
    ['no expiration', { expirationTime: undefined }],
    ['a longer expiration', { expirationTime: iso(600_000) }],
    ['a time with microseconds and an offset', { issuedAt: '2026-11-20T19:00:00.000000+01:00' }],
    ['a passed Not Before', { notBefore: iso() }],
  ])('with %s', async (_, changes) => {
    const { statement } = { ...expected, ...changes };
    const proof = await checkWalletProof(await proofHeader(messageOf(changes)), checks);
    expect(proof).toEqual({ ...expected, statement });
  });

  it('die with the earlier of five minutes and their own expiration', async () => {
    const header = await proofHeader(messageOf({ expirationTime: iso(240_000) }));
    expect((await checkWalletProof(header, checks)).expiresAtMs).toBe(NOW_MS + 240_000);
  });

  it('may run half a minute ahead and live five minutes', async () => {
    const header = await proofHeader(messageOf({ expirationTime: undefined }));
    for (const nowMs of [NOW_MS - 30_000, NOW_MS + 300_000]) {
      expect(await checkWalletProof(header, { ...checks, nowMs })).toMatchObject({ wallet: WALLET });
    }
  });

  it.each<[string, Record<string, unknown>]>([
    ['the structured form', {}],
    ['absent fields written as null', { notBefore: null, resources: null }],
    ['the structured form with the chain as a number', { chainId: 8453 }],
  ])('in %s', async (_, changes) => {
    expect(await checkWalletProof(await structured(changes), checks)).toMatchObject({
      wallet: WALLET,
      nonce: 'abcdef0123456789',
    });
  });
});

describe('refused proofs', () => {
  it.each([
    ['no base64', '{}'],
    ['no JSON', Buffer.from('hello').toString('base64')],
    ['an array', encodeBase64Json([])],
    ['null', encodeBase64Json(null)],
    ['a number', encodeBase64Json(7)],
    ['empty', ''],
    ['two joined headers', 'e30=, e30='],
    ['longer than 8 KB', encodeBase64Json({ address: 'x'.repeat(8192) })],
  ])('header: %s', async (_, header) => {
    expect(await reasonOf(header)).toBe('PARSE_ERROR');
  });

  it.each<[ProofReason, string, object]>([
    ['INVALID_PAYLOAD', 'no address', { address: undefined }],
    ['INVALID_PAYLOAD', 'no signature', { signature: undefined }],
    ['INVALID_PAYLOAD', 'neither message nor fields', { message: undefined }],
    ['INVALID_PAYLOAD', 'a message that is no text', { message: 7 }],
    ['INVALID_PAYLOAD', 'an unknown type', { type: 'rsa' }],
    ['INVALID_PAYLOAD', 'an inherited name as type', { type: 'constructor' }],
    ['INVALID_PAYLOAD', 'a timestamp that is no number', { timestamp: '1' }],
    ['INVALID_MESSAGE', 'some other text', { message: 'hello' }],
    ['ADDRESS_MISMATCH', 'another address', { address: stranger.address }],
    ['INVALID_CHAIN_ID', 'an unknown chain format', { chainId: 'base' }],
    ['INVALID_CHAIN_ID', 'a fraction', { chainId: 84.5 }],
    ['INVALID_CHAIN_ID', 'null', { chainId: null }],
    ['CHAIN_MISMATCH', 'another chain', { chainId: 1 }],
    [
      'CHAIN_MISMATCH',
      'Solana beside an Ethereum text',
      { chainId: 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp' },
    ],
    ['CHAIN_MISMATCH', 'a Solana signature on an Ethereum text', { type: 'ed25519' }],
    ['TIMESTAMP_MISMATCH', 'a timestamp too late', { timestamp: NOW_MS + 30_001 }],
    ['TIMESTAMP_MISMATCH', 'a timestamp too early', { timestamp: NOW_MS - 30_001 }],
    ['INVALID_SIGNATURE', 'no signature at all', { signature: '' }],
    ['INVALID_SIGNATURE', 'a signature in base64', { signature: 'AAAA' }],
    ['INVALID_SIGNATURE', 'a signature of zeros', { signature: `0x${'00'.repeat(65)}` }],
  ])('%s: %s', async (reason, _, changes) => {
    expect(await reasonOf(await proofHeader(messageOf(), changes))).toBe(reason);
  });

  it.each<[ProofReason, string, Partial<MessageLines>]>([
    ['UNSUPPORTED_CHAIN', 'Ethereum', { chainId: '1' }],
    ['UNSUPPORTED_CHAIN', 'Base Sepolia', { chainId: '84532' }],
    ['UNSUPPORTED_CHAIN', 'no chain line', { chainId: undefined }],
    ['UNSUPPORTED_CHAIN', 'a chain that is an inherited name', { chainId: '__proto__' }],
    [
      'UNSUPPORTED_CHAIN',
      'Solana devnet',
      { account: 'Solana', chainId: 'EtWTRABZaYq6iMfeYKouRu166VU2xqa1' },
    ],
    [
      'INVALID_WALLET',
      'an EVM address on Solana',
      { account: 'Solana', chainId: '5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp' },
    ],
    ['INVALID_MESSAGE', 'no nonce line', { nonce: undefined }],
    ['INVALID_MESSAGE', 'no Issued At line', { issuedAt: undefined }],
    ['INVALID_MESSAGE', 'no URI line', { uri: undefined }],
    ['INVALID_MESSAGE', 'version 2', { version: '2' }],
    ['INVALID_MESSAGE', 'a time without a zone', { issuedAt: '2026-11-20T18:00:00' }],
    ['INVALID_MESSAGE', 'a time in words', { issuedAt: 'Fri Nov 20 2026 18:00:00 GMT' }],
    ['INVALID_MESSAGE', 'an impossible expiration', { expirationTime: '2026-13-20T18:00:00Z' }],
    ['MISSING_NONCE', 'an empty nonce', { nonce: '' }],
    ['MISSING_NONCE', 'a short nonce', { nonce: '1234567' }],
    ['MISSING_NONCE', 'a nonce with other characters', { nonce: '12345678-90' }],
    ['MISSING_NONCE', 'an endless nonce', { nonce: 'a'.repeat(129) }],
    ['DOMAIN_MISMATCH', 'a foreign domain', { domain: 'evil.example' }],
    ['DOMAIN_MISMATCH', 'a foreign domain that ends like ours', { domain: 'evil-gw.example.com' }],
    ['DOMAIN_MISMATCH', 'our domain as a user name', { domain: 'gw.example.com@evil.example' }],
    ['DOMAIN_MISMATCH', 'a foreign name dressed up as a scheme', { domain: 'evil.example://gw.example.com' }],
    ['EXPIRED', 'an expiration that is now', { expirationTime: iso() }],
    ['FUTURE_TIMESTAMP', 'an issue time ahead', { issuedAt: iso(30_001) }],
    ['NOT_BEFORE', 'a later Not Before', { notBefore: iso(1) }],
    [
      'INVALID_WALLET',
      'an address with a wrong checksum',
      { address: account.address.replace('19E7', '19e7') },
    ],
  ])('%s: %s', async (reason, _, changes) => {
    expect(
      await reasonOf(await proofHeader(messageOf(changes), { chainId: undefined, timestamp: undefined })),
    ).toBe(reason);
  });

  it('INVALID_WALLET: an address of the wrong length', async () => {
    const header = await proofHeader(messageOf({ address: '0x1234' }), { address: '0x1234' });
    expect(await reasonOf(header)).toBe('INVALID_WALLET');
  });

  it('EXPIRED: older than five minutes, whatever expiration it names', async () => {
    const header = await proofHeader(messageOf({ expirationTime: iso(600_000) }));
    expect(await reasonOf(header, NOW_MS + 300_001)).toBe('EXPIRED');
  });

  it('INVALID_SIGNATURE: signed by somebody else', async () => {
    expect(await reasonOf(await proofHeader(messageOf(), {}, stranger))).toBe('INVALID_SIGNATURE');
  });

  it('INVALID_SIGNATURE: signed over another text', async () => {
    const signature = await account.signMessage({ message: messageOf({ nonce: 'anothernonce' }) });
    expect(await reasonOf(await proofHeader(messageOf(), { signature }))).toBe('INVALID_SIGNATURE');
  });

  it.each<[ProofReason, Record<string, unknown>]>([
    ['INVALID_PAYLOAD', { nonce: undefined }],
    ['INVALID_PAYLOAD', { domain: undefined }],
    ['INVALID_PAYLOAD', { issuedAt: 7 }],
    ['INVALID_PAYLOAD', { chainId: undefined }],
    ['INVALID_PAYLOAD', { statement: 7 }],
    ['INVALID_PAYLOAD', { resources: 'https://a.example/' }],
    ['INVALID_CHAIN_ID', { chainId: 'base' }],
    ['UNSUPPORTED_CHAIN', { chainId: 'eip155:1' }],
    ['DOMAIN_MISMATCH', { domain: 'evil.example' }],
    ['INVALID_SIGNATURE', { nonce: 'abcdef0123456780' }],
    ['INVALID_SIGNATURE', { statement: undefined }],
    ['INVALID_MESSAGE', { statement: 'one\ntwo' }],
    ['UNSUPPORTED_CHAIN', { type: 'ed25519', chainId: 'solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1' }],
    ['INVALID_WALLET', { type: 'ed25519', chainId: 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp' }],
  ])('structured, %s: %o', async (reason, changes) => {
    expect(await reasonOf(await structured(changes))).toBe(reason);
  });

  it('are checked in the order of the contract', async () => {
    const faults: [ProofReason, Partial<MessageLines>][] = [
      ['UNSUPPORTED_CHAIN', { chainId: '1' }],
      ['INVALID_MESSAGE', { nonce: undefined }],
      ['DOMAIN_MISMATCH', { domain: 'evil.example' }],
      ['EXPIRED', { issuedAt: iso(-300_001) }],
    ];
    for (let first = 0; first < faults.length; first += 1) {
      const changes = Object.assign({}, ...faults.slice(first).map(([, change]) => change)) as object;
      const header = await proofHeader(
        messageOf(changes),
        { timestamp: undefined, chainId: undefined },
        stranger,
      );
      expect(await reasonOf(header)).toBe(faults[first]?.[0]);
    }
    const wrongAddress = { address: stranger.address, chainId: 'base' };
    expect(await reasonOf(await proofHeader(messageOf(), wrongAddress))).toBe('ADDRESS_MISMATCH');
  });
});

describe('arbitrary input', () => {
  async function refused(header: string): Promise<void> {
    expect(await reasonOf(header)).toMatch(/^[A-Z_]+$/);
  }

  it('is refused with a reason, never an accident', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.string(), fc.base64String(), fc.jsonValue().map(encodeBase64Json)),
        refused,
      ),
      { numRuns: 300, seed: 402 },
    );
  });

  it('in any one field of a good proof is refused', async () => {
    const good = JSON.parse(Buffer.from(await structured(), 'base64').toString()) as Record<string, unknown>;
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...Object.keys(good)), fc.jsonValue(), async (name, value) => {
        const sameMeaning = name === 'chainId' ? ['8453', '"8453"'] : [];
        fc.pre(![JSON.stringify(good[name]), ...sameMeaning].includes(JSON.stringify(value)));
        await refused(encodeBase64Json({ ...good, [name]: value }));
      }),
      { numRuns: 300, seed: 402 },
    );
  });

  it('made of repeated pieces of a message is refused', async () => {
    const message = `${' wants you to sign in with your Ethereum account:'.repeat(100)}\n\n\n${'- '.repeat(300)}`;
    await refused(encodeBase64Json({ address: 'a', signature: 'b', message }));
  });
});

it('reads hosts as EIP-4361 writes domains', () => {
  expect(signInHost('GW.Example.com')).toBe('gw.example.com');
  expect(signInHost('gw.example.com:8443')).toBe('gw.example.com');
  expect(signInHost('http://127.0.0.1:39861/')).toBe('127.0.0.1');
  expect(signInHost('[::1]:4020')).toBe('[::1]');
  expect(signInHost('ftp://gw.example.com')).not.toBe('gw.example.com');
});
